"""ONNX Runtime: the engine is the ONNX file, run on the CPU or on an NVIDIA GPU.

On devices whose execution provider compiles graphs, what it compiled may be the engine instead.
On the CPU it is also the reference for the engines of all backends.
"""

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline import machine, stored_files
from pipeline.atomic import write_bytes
from pipeline.errors import UnavailableError, first_line
from pipeline.gates.build_records import EngineManifest, EpContext
from pipeline.stage import StageError
from pipeline.texts import is_utf8
from stages.engines import ep_context, ort_provider
from stages.engines.base import MANIFEST_FILE, BuildRequest, to_model_input
from stages.engines.providers import PROVIDERS, compiles, hardware

_FATAL = 4
_BATCHES = ("min_batch", "opt_batch", "max_batch")
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_TOO_NEW = {
    "ir_version": re.compile(r"IR version: (\d+), max supported IR version: (\d+)"),
    "opset": re.compile(r"Opset (\d+) is under development.*till opset (\d+)", re.IGNORECASE),
}
"""What it says of files of a newer standard: their version, and the newest that it reads."""
_FAILED_NODE = re.compile(r"while running (\w+) node\. Name:'([^']+)'")
_UNKNOWN_LAYER = ("NOT_IMPLEMENTED", "is not a registered function/op", "No Op registered")


class Built(TypedDict):
    """What the build of an engine adds to its manifest; names as in `EngineManifest`."""

    gpu: str
    compute_capability: str
    driver: str
    settings: dict[str, int]
    ep_context: EpContext | None


class OrtSession:
    """An ONNX Runtime session on the device that was named, and on no other."""

    session: onnxruntime.InferenceSession
    """The runtime's own, for files that are no engines."""
    notes: Sequence[str] = ()

    def __init__(
        self,
        engine: Path | bytes,
        *,
        device: str = "cpu",
        threads: int = 1,
        is_optimised: bool = True,
        settings: Mapping[str, str] = _NO_SETTINGS,
    ) -> None:
        """Load an ONNX file or its bytes; any other provider than the device's is an error.

        `settings` are those of a provider that compiles.
        """
        # Its messages about absent GPUs bypass the session's own log level.
        onnxruntime.set_default_logger_severity(_FATAL)
        provider, options = PROVIDERS[device].name, _options(threads)
        if not is_optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model, name = (engine, "a graph") if isinstance(engine, bytes) else (str(engine), engine)
        if isinstance(model, str) and not is_utf8(model):
            wrong = "is in a path that is not UTF-8, which ONNX Runtime does not open"
            raise StageError(model, wrong, "rename it")
        if compiles(device):
            ort_provider.add(options, device, settings)
        elif device == "cuda":
            # It prints which libraries are absent, which would get between our lines of JSON.
            with contextlib.redirect_stdout(io.StringIO()):
                onnxruntime.preload_dlls()
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        named = {} if compiles(device) else {"providers": [provider]}
        try:
            self.session = onnxruntime.InferenceSession(model, options, **named)
        except Exception as error:  # its exceptions share no public base class
            raise _load_fault(name, str(error)) from error
        if provider not in self.session.get_providers():
            raise UnavailableError(
                "build.device",
                f"{provider} does not load here (got {', '.join(self.session.get_providers())})",
                'use device "cpu", or see madpipe doctor',
            )
        if device != "cpu":
            ort_provider.check_placement(self.session, device)
        self._device = hardware(device)
        self._input = self.session.get_inputs()[0].name
        self._is_bytes = self.session.get_inputs()[0].type == "tensor(uint8)"
        self._output = self.session.get_outputs()[0].name

    def infer(self, x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of shape BK for images in [0, 1]."""
        x = to_model_input(x_BCHW, is_bytes=self._is_bytes)
        try:
            (logits_BK,) = self.session.run([self._output], {self._input: x})
        except Exception as error:  # its exceptions share no public base class
            raise self._refusal(x, error) from error
        return np.asarray(logits_BK, dtype=np.float32)

    def _refusal(self, x: NDArray[Any], error: Exception) -> StageError:
        failed = _FAILED_NODE.search(str(error))
        why = "at {} {}".format(*failed.groups()) if failed else first_line(error)
        return StageError(
            "the engine",
            f"does not take such images (shape {x.shape}: {why})",
            f"give what it was built for, {self.session.get_inputs()[0].shape}",
        )

    def prepared(self, x_BCHW: NDArray[np.float32]) -> Callable[[], object]:
        """Return a call that runs these images, already on the device, to the end."""
        binding = self.session.io_binding()
        x = to_model_input(x_BCHW, is_bytes=self._is_bytes)
        images = onnxruntime.OrtValue.ortvalue_from_numpy(x, self._device, 0)
        binding.bind_ortvalue_input(self._input, images)
        binding.bind_output(self._output, self._device)

        def call() -> None:
            try:
                self.session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            except Exception as error:  # its exceptions share no public base class
                raise self._refusal(x, error) from error

        return call


def _load_fault(name: Path | str, text: str) -> StageError:
    """Return the error for a file that ONNX Runtime refuses, from what it says."""
    place, because = "the ONNX file", " ".join(text.replace(str(name), "it").split())
    for kind, pattern in _TOO_NEW.items():
        if match := pattern.search(because):
            version, newest = match.groups()
            return StageError(
                place,
                f"is of a newer ONNX than ONNX Runtime {onnxruntime.__version__} reads ({kind} "
                f"{version}, at most {newest})",
                f"save it with {kind} {newest}, or update onnxruntime",
            )
    if any(phrase in because for phrase in _UNKNOWN_LAYER):
        return StageError(
            place,
            f"holds what ONNX Runtime does not run ({because})",
            "replace the layer that it names, or use another backend",
        )
    return StageError("build", f"ONNX Runtime cannot load it ({name}: {because})", "build it again")


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return options


def build(request: BuildRequest) -> Built | None:
    """Make an engine from a checked ONNX file: the file itself, once it has run here.

    Where the settings ask for it, what the device's execution provider compiled.
    """
    if not compiles(request.device):
        write_bytes(request.engine, request.onnx.read_bytes())
        OrtSession(request.engine, device=request.device, threads=1)
        return None
    provider, trt = PROVIDERS[request.device], request.options.tensorrt
    batches = {name: getattr(trt, name) for name in _BATCHES}
    settings = _provider_settings(request.onnx, request.device, batches, request.cache)
    context = None
    if request.options.ep_context:
        options = _options(threads=1)
        ort_provider.add(options, request.device, settings)
        content = ort_provider.compiled(request.onnx, options)
        first = ep_context.check(content, provider.name)[0]
        write_bytes(request.engine, content)
        context = EpContext(
            provider=provider.name,
            version=machine.version(provider.distribution),
            sdk_version=first.sdk_version,
        )
    else:
        write_bytes(request.engine, request.onnx.read_bytes())
    OrtSession(request.engine, device=request.device, settings={} if context else settings)
    gpu = machine.gpus()[0] if machine.gpus() else machine.Gpu("", "", "")
    return Built(
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        settings=batches,
        ep_context=context,
    )


def open(  # noqa: A001  (the protocol)
    engine: Path, *, device: str, threads: int, cache: Path | None = None
) -> OrtSession:
    """Load an engine; where its device's provider compiles, a manifest lies beside it.

    It is looked at first for what was compiled, which is native code: only the manifest allows it.
    """
    manifest = _manifest(engine) if compiles(device) else None
    context = manifest.ep_context if manifest else None
    try:
        content = engine.read_bytes()
    except OSError as error:
        raise StageError("the engine", f"cannot be read ({error})", "build it again") from error
    ep_context.check(content, context.provider if context else None)
    settings: dict[str, str] = {}
    if manifest is not None:
        batches = {} if context else manifest.settings
        settings = _provider_settings(engine, device, batches, cache)
    return OrtSession(engine, device=device, threads=threads, settings=settings)


def _manifest(engine: Path) -> EngineManifest:
    path = engine.with_name(MANIFEST_FILE)
    try:
        return stored_files.decode(stored_files.read_bytes(path), EngineManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise StageError(
            "the engine", f"has no sound manifest beside it ({path}: {error})", "build it again"
        ) from error


def _provider_settings(
    onnx_path: Path, device: str, batches: Mapping[str, Any], cache: Path | None
) -> dict[str, str]:
    """Return the settings of a provider that compiles, for the images that a file takes."""
    if not batches:
        return ort_provider.settings_of(device, "", None, cache)
    import onnx  # noqa: PLC0415  (no other device needs it)

    (images,) = onnx.load(str(onnx_path)).graph.input
    sizes = [str(dim.dim_value) for dim in images.type.tensor_type.shape.dim[1:]]
    shape = f"{images.name}:{'x'.join(['{}', *sizes])}"
    low, usual, high = (int(batches[name]) for name in _BATCHES)
    return ort_provider.settings_of(device, shape, (low, usual, high), cache)
