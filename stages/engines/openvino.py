"""OpenVINO: the engine is an ONNX file, compiled when it is opened, in the precision it names.

fp32 is asked for by name: left to itself OpenVINO computes in bf16 where the core has it. int4 is
weights alone, unpacked when the file is compiled, which makes the file small and nothing fast. The
package sets up telemetry when it is imported, with an identifier in the user's home folder; with
the module for it out of reach it takes its own stub, so nothing is written or sent.
"""

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from pipeline.errors import UnavailableError
from pipeline.stage import StageError
from stages.engines.base import PRECISION_KEY, BuildRequest, to_model_input

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
try:
    Path.home()
except RuntimeError:  # a container's user without a name, of which the package wants the home
    os.environ["HOME"] = tempfile.gettempdir()

import openvino  # noqa: E402  (after its telemetry is out of reach)

_ARITHMETIC = {"bf16", "f16", "f32", "i8", "u8"}
_LAYERS = {"Convolution", "FullyConnected", "MatMul", "Deconvolution", "GroupConvolution"}
_PROOF = {"fp32": {"f32"}, "bf16": {"bf16"}, "int8": {"i8", "u8"}, "int4": {"f32"}}

_UNKNOWN_LAYERS = re.compile(r"No conversion rule found for operations: (.+)")


class OpenVinoSession:
    """A compiled model on the CPU."""

    notes: Sequence[str] = ()

    def __init__(self, engine: Path, *, threads: int) -> None:
        """Compile the engine for one stream of requests with the least latency."""
        try:
            # From bytes, since reading by path would follow external data and needs a suffix.
            content = engine.read_bytes()
            entries = onnx.load_model_from_string(content).metadata_props
            properties = {entry.key: entry.value for entry in entries}
            self.precision = properties.get(PRECISION_KEY, "fp32")
            core = openvino.Core()
            self._compiled = core.compile_model(
                core.read_model(content, b""),
                "CPU",
                {
                    # All others compute in fp32 what is not quantized.
                    "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
                    # Else linear layers with weights of 4 bits round their activations to 8.
                    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
                    "INFERENCE_NUM_THREADS": threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except Exception as error:  # its exceptions share no public base class
            raise _load_fault(engine, str(error).strip()) from error
        self._request = self._compiled.create_infer_request()
        self._is_bytes = self._compiled.input(0).get_element_type() == openvino.Type.u8

    def infer(self, x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of shape BK for images in [0, 1]."""
        x = to_model_input(x_BCHW, is_bytes=self._is_bytes)
        # Of images of another size it makes an empty result, without an error.
        input_shape = self._compiled.input(0).get_partial_shape()
        if not input_shape.compatible(openvino.PartialShape(list(x.shape))):
            raise StageError(
                "the engine",
                f"does not take such images (shape {x.shape})",
                f"give what it was built for, {input_shape}",
            )
        result = self._request.infer({0: x})
        return np.array(result[0], dtype=np.float32)

    def prepared(self, x_BCHW: NDArray[np.float32]) -> Callable[[], object]:
        """Return a call that runs these images, already in place, to the end."""
        request = self._compiled.create_infer_request()
        tensor = openvino.Tensor(to_model_input(x_BCHW, is_bytes=self._is_bytes))
        request.set_input_tensor(tensor)
        infer: Callable[[], object] = request.infer
        return infer

    def reached(self) -> dict[str, int]:
        """Return the arithmetic of the compiled layers -> how many compute in it."""
        counts: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            # Values are plain or wrapped, by OpenVINO's version.
            info = {k: str(getattr(v, "value", v)) for k, v in node.get_rt_info().items()}
            arithmetic = info.get("runtimePrecision", "")
            if info.get("layerType") in _LAYERS and arithmetic in _ARITHMETIC:
                counts[arithmetic] += 1
        return dict(sorted(counts.items()))


def _load_fault(engine: Path, text: str) -> StageError:
    """Return the error for a file that OpenVINO refuses, from what it says."""
    if match := _UNKNOWN_LAYERS.search(text):
        return StageError(
            "the ONNX file",
            f"holds layers that OpenVINO does not have ({match.group(1).strip()})",
            "replace them, or use backend onnxruntime",
        )
    last = text.splitlines()[-1:] or ["it gives no reason"]
    return StageError("build", f"OpenVINO cannot load it ({engine}: {last[0]})", "build it again")


def build(request: BuildRequest) -> None:
    """Make an engine: the file itself, once it has compiled and reached its precision here."""
    _check_device(request.device)
    shutil.copyfile(request.onnx, request.engine)
    session = OpenVinoSession(request.engine, threads=1)
    reached = session.reached()
    if reached and not _PROOF[session.precision] & set(reached):
        raise UnavailableError(
            "build.precision",
            f"OpenVINO does not compute in {session.precision} here (it chose {reached})",
            'use precision "fp32" or "auto"',
        )


def open(  # noqa: A001  (the protocol)
    engine: Path, *, device: str, threads: int, cache: Path | None = None
) -> OpenVinoSession:
    """Load an engine."""
    del cache
    _check_device(device)
    return OpenVinoSession(engine, threads=threads)


def _check_device(device: str) -> None:
    if device != "cpu":
        raise UnavailableError(
            "build.device", f"OpenVINO engines run on the CPU here ({device})", 'use device "cpu"'
        )
