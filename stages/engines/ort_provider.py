"""Execution providers of ONNX Runtime: loaded, put into a session's options, and looked at after.

Two compile graphs by themselves: TensorRT's, which comes with onnxruntime-gpu and needs TensorRT's
libraries, and TensorRT-RTX's, a plugin in a package of its own. What they compile can be kept as a
model (EPContext).
"""

import contextlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from pipeline.errors import UnavailableError, error_summary
from pipeline.stage import StageError
from stages.engines.base import BACKENDS
from stages.engines.providers import PROVIDERS, Provider, check_installed, hardware

_SHAPE_OPS = frozenset(
    ("Add", "Cast", "Concat", "Div", "Equal", "Gather", "Mul", "Range", "Reshape", "Shape",
     "Slice", "Squeeze", "Sub", "Unsqueeze", "Where")
)  # fmt: skip
"""Operators on shapes, which ONNX Runtime may leave on the CPU to no harm."""
_registered: set[str] = set()
"""Plugins that this process has registered, which ONNX Runtime does once."""


def add(options: onnxruntime.SessionOptions, device: str, settings: Mapping[str, str]) -> None:
    """Put the provider of a device into the options of a session.

    Raises:
        UnavailableError: It is not installed, or does not load here.
    """
    provider = PROVIDERS[device]
    check_installed(device)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # What it prints of absent libraries would get between our lines of JSON.
    with contextlib.redirect_stdout(io.StringIO()):
        if hardware(device) == "cuda":
            onnxruntime.preload_dlls()
        try:
            if provider.is_plugin:
                options.add_provider_for_devices([_plugin_device(provider)], dict(settings))
            else:
                importlib.import_module(provider.module)  # which loads what the provider links
                options.add_provider(provider.name, dict(settings))
        except UnavailableError:
            raise
        except Exception as error:  # its exceptions share no public base class
            raise _absent(provider, error_summary(error)) from error


def _plugin_device(provider: Provider) -> onnxruntime.OrtEpDevice:
    """Return the first device of a plugin, which is registered where it is not yet."""
    if provider.name not in _registered:
        library = importlib.import_module(provider.module).get_library_path()
        onnxruntime.register_execution_provider_library(provider.name, library)
        _registered.add(provider.name)
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == provider.name]
    if not devices:
        raise _absent(provider, "it finds no device of its own here")
    return devices[0]


def _absent(provider: Provider, because: str) -> UnavailableError:
    return UnavailableError(
        "build.device",
        f"{provider.name} does not load here ({because})",
        'see madpipe doctor, or use device "cuda" or "cpu"',
    )


def settings_of(
    device: str, shape: str, batches: tuple[int, int, int] | None, cache: Path | None
) -> dict[str, str]:
    """Return the options of a provider that compiles.

    Args:
        device: That names it.
        shape: `INPUT:{}xDIMxDIMxDIM` of the images, with a place for the batch.
        batches: The least, the usual and the largest that are compiled for; None: the provider's
            own choice.
        cache: A folder for kernels, see `Backend.open`.
    """
    provider = PROVIDERS[device]
    settings = {}
    if provider.option_prefix and batches is not None:
        for name, batch in zip(("min", "opt", "max"), batches, strict=True):
            settings[f"{provider.option_prefix}profile_{name}_shapes"] = shape.format(batch)
    if provider.cache_option and cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        settings[provider.cache_option] = str(cache)
    return settings


def check_placement(session: onnxruntime.InferenceSession, device: str) -> None:
    """Make sure that a device's provider runs all layers, and leaves none to the CPU.

    Raises:
        UnavailableError: It would not, and would wait for the CPU in each inference.
    """
    provider = PROVIDERS[device]
    other_ops = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider.name
        for node in part.get_nodes()
    }
    if layers := sorted(other_ops - _SHAPE_OPS):
        raise UnavailableError(
            "build.device",
            f"ONNX Runtime has no kernels on the GPU for some layers ({', '.join(layers)}; "
            f"{provider.title})",
            f'set export.opset = {BACKENDS["onnxruntime"].opset}, or use device "cpu"',
        )


def compiled(onnx: Path, options: onnxruntime.SessionOptions) -> bytes:
    """Return a model that holds what the provider in the options compiled, in one piece.

    Raises:
        StageError: It does not compile the file, or cannot be asked to by this ONNX Runtime.
    """
    try:
        # From bytes, so that nothing in it names the file that it came from.
        compiler = onnxruntime.ModelCompiler(
            options, onnx.read_bytes(), embed_compiled_data_into_model=True
        )
        return bytes(compiler.compile_to_bytes())
    except Exception as error:  # its exceptions share no public base class
        raise StageError(
            "build.ep_context",
            f"the execution provider does not compile the file ({error_summary(error)})",
            "set it to false, or use backend tensorrt or tensorrt-rtx",
        ) from error
