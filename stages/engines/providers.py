"""ONNX Runtime's execution providers by the devices that stand for them; none is imported here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from pipeline import machine
from pipeline.errors import UnavailableError


class Provider(NamedTuple):
    """An execution provider."""

    name: str
    """As ONNX Runtime calls it."""
    title: str
    """For messages."""
    module: str = "onnxruntime"
    """The package that it needs beside ONNX Runtime."""
    distribution: str = "onnxruntime-gpu|onnxruntime"
    """Whose version a compiled engine is bound to."""
    install: str = ""
    compiles: bool = False
    """Whether it compiles graphs, and what it compiled may be kept (EPContext)."""
    option_prefix: str = ""
    """What its options begin with, where it compiles for a range of batches."""
    cache_option: str = ""
    """Its option that names a folder for the kernels that it compiles."""
    is_plugin: bool = False
    """Whether its package holds a library to register, as ONNX Runtime's plugins do."""


PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "cpu": Provider("CPUExecutionProvider", "the CPU"),
        "cuda": Provider("CUDAExecutionProvider", "CUDA"),
        "cuda-tensorrt": Provider(
            "TensorrtExecutionProvider",
            "TensorRT",
            module="tensorrt",
            distribution="tensorrt|tensorrt-cu13|tensorrt-cu12",
            install="pip install 'madpipe[tensorrt10]'",
            compiles=True,
            option_prefix="trt_",
        ),
        "cuda-tensorrt-rtx": Provider(
            "NvTensorRTRTXExecutionProvider",
            "TensorRT-RTX",
            module="onnxruntime_ep_nv_tensorrt_rtx",
            distribution="onnxruntime-ep-nv-tensorrt-rtx|onnxruntime-ep-nv-tensorrt-rtx-cu13",
            install="pip install onnxruntime-ep-nv-tensorrt-rtx",
            compiles=True,
            option_prefix="nv_",
            cache_option="nv_runtime_cache_path",
            is_plugin=True,
        ),
    }
)
"""Device -> the provider of ONNX Runtime that it names."""


def hardware(device: str) -> Literal["cpu", "cuda"]:
    """Return what a device computes on, as torch calls it."""
    return "cuda" if device.startswith("cuda") else "cpu"


def compiles(device: str) -> bool:
    """Return whether a device's provider compiles graphs, and may keep them (EPContext)."""
    return PROVIDERS[device].compiles


def check_installed(device: str) -> None:
    """Make sure that the package of a device's provider is installed; it is not imported.

    Raises:
        UnavailableError: It is not.
    """
    provider = PROVIDERS[device]
    if not machine.has_module(provider.module):
        raise UnavailableError(
            "build.device",
            f"needs a package that is not installed ({device}: {provider.module})",
            f"run {provider.install}",
        )
