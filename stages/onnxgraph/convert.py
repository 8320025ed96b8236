"""An ONNX model at a precision: the one place that knows how each is made.

Shape legend: N images, C channel, H W space.
"""

import platform
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from pipeline import machine
from pipeline.settings import Build
from pipeline.stage import StageError
from stages.engines.base import BackendInfo
from stages.onnxgraph import calibrate, fp8, half, int8, pixels
from stages.onnxgraph.layers import Prepared, chosen, with_names

CALIBRATED = ("int8", "fp8")
PRECISION_KEY = "madpipe.precision"
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


class Maker:
    """Makes one model at several precisions, measuring ranges of activations once."""

    def __init__(
        self, model: ModelProto, images_NCHW: NDArray[np.float32] | None, options: Build
    ) -> None:
        """Take an fp32 model and the images for calibration; None: int8 and fp8 are refused."""
        self.model = with_names(model)
        self._images = images_NCHW
        self._options = options
        self._ranges: dict[tuple[str, tuple[str, ...]], Any] = {}

    def at(self, precision: str, info: BackendInfo, more_float: Collection[str] = ()) -> Prepared:
        """Return the model at a precision, in the form that a backend takes.

        Args:
            precision: fp32, fp16, bf16, int8 or fp8.
            info: The backend that will run it.
            more_float: Nodes to leave in fp32 besides those of the settings.

        Raises:
            StageError: No images to calibrate with, or a layer to leave in float is unknown.
        """
        names = self._options.float_layers
        keep = chosen(self.model, names, "build.float_layers") | set(more_float)
        if precision == "int8":
            made = self._int8(info.scheme, keep)
        elif precision == "fp8":
            made = fp8.quantize(self.model, self._measured("distribution", fp8.OPS), keep=keep)
        elif precision in half.TYPES and info.is_half_in_graph:
            made = half.convert(self.model, precision, keep=keep)
        else:
            made = Prepared(self._copy(), ())
        onnx.helper.set_model_props(
            made.model,
            {each.key: each.value for each in made.model.metadata_props}
            | {PRECISION_KEY: precision},
        )
        return made

    def _int8(self, scheme: str, keep: set[str]) -> Prepared:
        method = self._options.calibration_method
        return int8.quantize(
            self.model,
            scheme,
            self._measured(method, int8.OPS[scheme]),
            method=method,
            keep=keep,
            reduce_range=scheme == "u8s8" and saturates(),
        )

    def _measured(self, method: str, ops: tuple[str, ...]) -> Any:
        if self._images is None:
            raise StageError(
                "build.precision",
                "int8 and fp8 need images to calibrate with (none given)",
                "give --calibration: the bank of a distill run, an .npz with x, or a folder",
            )
        if (method, ops) not in self._ranges:
            graph_input = self.model.graph.input[0]
            is_bytes = graph_input.type.tensor_type.elem_type == TensorProto.UINT8
            x = pixels.taken(self._images[: self._options.calibration_images], is_bytes=is_bytes)
            self._ranges[method, ops] = calibrate.measure(self.model, x, method, ops)
        return self._ranges[method, ops]

    def _copy(self) -> ModelProto:
        copied = ModelProto()
        copied.CopyFrom(self.model)
        return copied


def at(
    path: Path,
    precision: str,
    info: BackendInfo,
    images_NCHW: NDArray[np.float32] | None,
    options: Build,
) -> Prepared:
    """Return the model of a file at a precision; see `Maker.at`."""
    return Maker(onnx.load(str(path)), images_NCHW, options).at(precision, info)


def saturates() -> bool:
    """Tell whether 8-bit products overflow 16 bits here: an x86 processor without VNNI."""
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return is_x86 and not _VNNI & machine.cpu_features()
