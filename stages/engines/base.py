"""The backends: what builds and runs an engine, declared without importing any of them.

Shape legend: B batch, N images, C channel, H W space, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.settings import Build
from stages.engines.providers import PROVIDERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST_FILE = "manifest.json"
VALIDATION_FILE = "validation.json"
"""What validate measured of an engine in a folder."""
RUNTIME_CACHE_FOLDER = "runtime-cache"
"""Beside an engine: the kernels that its runtime compiled, where it keeps any."""


class Session(Protocol):
    """An engine ready to run."""

    notes: Sequence[str]
    """What its user should know of how it was opened."""

    def infer(self, x_BCHW: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return logits of shape BK for images in [0, 1]."""

    def prepared(self, x_BCHW: "NDArray[np.float32]") -> Callable[[], object]:
        """Return a call that runs these images, already in place, until their result is there."""


def to_model_input(x_NCHW: "NDArray[np.float32]", *, is_bytes: bool) -> "NDArray[Any]":
    """Return images in [0, 1] as a graph takes them: as they are, or as uint8 of shape NHWC."""
    if not is_bytes:
        return x_NCHW
    bytes_NCHW: NDArray[np.uint8] = (x_NCHW * 255).round().clip(0, 255).astype("uint8")
    return bytes_NCHW.transpose(0, 2, 3, 1).copy()


OnProgress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and the unit."""


def no_progress(done: int, total: int, unit: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """The engine that a backend is to build."""

    onnx: Path
    """A checked ONNX file whose graph already has the precision."""
    engine: Path
    """Where to write."""
    device: str
    """cpu, cuda or one of ONNX Runtime's others; see `stages.engines.providers`."""
    precision: str
    options: Build = field(default_factory=Build)
    cache: Path | None = None
    """A folder that outlives the build, for timing caches; None: keep nothing."""
    on_progress: OnProgress = no_progress


class Backend(Protocol):
    """What a backend's module offers; modules satisfy it, nothing is inherited."""

    def build(self, request: BuildRequest) -> Mapping[str, Any] | None:
        """Make an engine and, unless it is for another machine, run it once.

        Returns what is more to go into the manifest, by the names of its fields.

        Raises:
            StageError: The file cannot be made into an engine.
            UnavailableError: The device or precision is not to be had here.
        """

    def open(
        self, engine: Path, *, device: str, threads: int, cache: Path | None = None
    ) -> Session:
        """Load an engine.

        `cache` is a folder for the kernels that a runtime compiles, which later sessions take from
        it; None: keep nothing.

        Raises:
            StageError: It cannot be loaded.
            UnavailableError: The device is not to be had here.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What is known of a backend without importing it."""

    module: str
    """The module that implements it."""
    needs: str
    """The importable package that it drives."""
    install: str
    distribution: str
    engine_file: str
    precisions: tuple[str, ...]
    """Those it builds, the default first."""
    facts: tuple[str, ...]
    """Facts of the machine that an engine depends on."""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """Where its engines run."""
    keeps_kernels_on: tuple[str, ...] = ()
    """Devices for which it compiles kernels when it runs, and can keep them."""
    architectures: tuple[str, ...] = ()
    """GPU architectures that it builds for without having them; it runs on no others."""
    unsupported_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Architecture -> precisions that it cannot compute in."""
    unsupported_settings: tuple[str, ...] = ()
    """Settings of [build.tensorrt] that this edition does not have."""
    scheme: str = "s8s8"
    """How int8 graphs are quantized for it; see `stages.onnxgraph.qdq`."""
    opset: int = 22
    """The ONNX operator set it is given where the settings name none."""
    only_on: Mapping[str, str] = field(default_factory=dict)
    """Precision -> the one kind of device, cpu or cuda, on which it has it."""
    needs_feature: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Precision -> features of the CPU of which it needs one."""
    is_half_in_graph: bool = True
    """Whether fp16 and bf16 are made in the graph, or by the backend when it loads one."""
    is_portable: bool = False
    """Whether its engines are plain files that any version and machine may load."""


BACKENDS: Mapping[str, BackendInfo] = MappingProxyType(
    {
        "onnxruntime": BackendInfo(
            module="stages.engines.ort",
            needs="onnxruntime",
            install="pip install onnxruntime-gpu",
            distribution="onnxruntime-gpu|onnxruntime",
            engine_file="engine.onnx",
            precisions=("fp32", "fp16", "int8"),
            facts=("cpu_features",),
            devices=tuple(PROVIDERS),
            keeps_kernels_on=("cuda-tensorrt-rtx",),
            scheme="u8s8",
            opset=21,  # its CUDA provider has no pooling of opset 22
            # On a CPU it computes fp16 in fp32, and on a GPU int8 in floats: both are slower.
            only_on={"fp16": "cuda", "int8": "cpu"},
            is_portable=True,
        ),
        "tensorrt": BackendInfo(
            module="stages.engines.tensorrt.standard",
            needs="tensorrt",
            install="pip install 'madpipe[tensorrt]'",
            distribution="tensorrt|tensorrt-cu13|tensorrt-cu12",
            opset=20,
            engine_file="engine.plan",
            precisions=("fp16", "fp32", "bf16", "int8", "fp8", "int4"),
            facts=("gpu", "driver"),
            devices=("cuda",),
        ),
        "tensorrt-rtx": BackendInfo(
            module="stages.engines.tensorrt.rtx",
            needs="tensorrt_rtx",
            install="pip install 'madpipe[tensorrt-rtx]'",
            distribution="tensorrt-rtx|tensorrt-rtx-cu13|tensorrt-rtx-cu12",
            engine_file="engine.plan",
            precisions=("fp16", "fp32", "bf16", "int8", "fp8", "int4"),
            facts=("gpu", "driver"),
            devices=("cuda",),
            keeps_kernels_on=("cuda",),
            architectures=("sm75", "sm80", "sm86", "sm89", "sm120", "sm121"),
            unsupported_on={"sm75": ("bf16", "fp8", "int4"), "sm80": ("fp8",), "sm86": ("fp8",)},
            unsupported_settings=("hardware_compatibility", "version_compatible"),
        ),
        "openvino": BackendInfo(
            module="stages.engines.openvino",
            needs="openvino",
            install="pip install 'madpipe[openvino]'",
            distribution="openvino",
            engine_file="engine.onnx",
            precisions=("fp32", "bf16", "int8", "int4"),
            facts=("cpu", "cpu_features"),
            devices=("cpu",),
            scheme="u8s8",
            needs_feature={"bf16": ("avx512_bf16", "amx_bf16", "bf16")},
            is_half_in_graph=False,
            is_portable=True,
        ),
    }
)

PRECISION_KEY = "madpipe.precision"
"""The metadata of an ONNX file that names its precision."""

AUTO = "onnxruntime"
"""The backend that every installation has."""
