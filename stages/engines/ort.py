"""ONNX Runtime: the engine is the ONNX file, run on the CPU or on an NVIDIA GPU.

On the CPU it is also the reference for the engines of all backends.
"""

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.errors import UnavailableError, first_line
from pipeline.stage import StageError
from stages.engines.base import BACKENDS, BuildRequest, to_model_input

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_FATAL = 4
_SHAPE_OPS = frozenset(
    ("Add", "Cast", "Concat", "Div", "Equal", "Gather", "Mul", "Range", "Reshape", "Shape",
     "Slice", "Squeeze", "Sub", "Unsqueeze", "Where")
)  # fmt: skip
"""Operators on shapes, which ONNX Runtime may leave on the CPU to no harm."""
_TOO_NEW = {
    "ir_version": re.compile(r"IR version: (\d+), max supported IR version: (\d+)"),
    "opset": re.compile(r"Opset (\d+) is under development.*till opset (\d+)", re.IGNORECASE),
}
"""What it says of files of a newer standard: their version, and the newest that it reads."""
_FAILED_NODE = re.compile(r"while running (\w+) node\. Name:'([^']+)'")
_UNKNOWN_LAYER = ("NOT_IMPLEMENTED", "is not a registered function/op", "No Op registered")

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class OrtSession:
    """An ONNX Runtime session on the device that was named, and on no other."""

    session: onnxruntime.InferenceSession
    """The runtime's own, for files that are no engines."""

    def __init__(
        self,
        engine: Path | bytes,
        *,
        device: str = "cpu",
        threads: int = 1,
        is_optimised: bool = True,
    ) -> None:
        """Load an ONNX file or its bytes; any other provider than the device's is an error."""
        # Its messages about absent GPUs bypass the session's own log level.
        onnxruntime.set_default_logger_severity(_FATAL)
        provider = _PROVIDERS[device]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if not is_optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        model, name = (engine, "a graph") if isinstance(engine, bytes) else (str(engine), engine)
        if device == "cuda":
            # It prints which libraries are absent, which would get between our lines of JSON.
            with contextlib.redirect_stdout(io.StringIO()):
                onnxruntime.preload_dlls()
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            self.session = onnxruntime.InferenceSession(model, options, providers=[provider])
        except Exception as error:  # its exceptions share no public base class
            raise _load_fault(name, str(error)) from error
        if provider not in self.session.get_providers():
            raise UnavailableError(
                "build.device",
                f"{provider} does not load here (got {', '.join(self.session.get_providers())})",
                'use device "cpu", or see madpipe doctor',
            )
        if device == "cuda":
            self._check_placement()
        self._device = device
        self._input = self.session.get_inputs()[0].name
        self._is_bytes = self.session.get_inputs()[0].type == "tensor(uint8)"
        self._output = self.session.get_outputs()[0].name

    def _check_placement(self) -> None:
        """Raise UnavailableError where layers would run on the CPU, for which the GPU waits."""
        cpu_ops = {
            node.op_type
            for part in self.session.get_provider_graph_assignment_info()
            if part.ep_name == _PROVIDERS["cpu"]
            for node in part.get_nodes()
        }
        if layers := sorted(cpu_ops - _SHAPE_OPS):
            raise UnavailableError(
                "build.device",
                f"ONNX Runtime has no kernels on the GPU for some layers ({', '.join(layers)})",
                f'set export.opset = {BACKENDS["onnxruntime"].opset}, or use device "cpu"',
            )

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


def build(request: BuildRequest) -> None:
    """Make an engine from a checked ONNX file: the file itself, once it has run here."""
    shutil.copyfile(request.onnx, request.engine)
    OrtSession(request.engine, device=request.device, threads=1)


def open(engine: Path, *, device: str, threads: int) -> OrtSession:  # noqa: A001  (the protocol)
    """Load an engine."""
    return OrtSession(engine, device=device, threads=threads)
