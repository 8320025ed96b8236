"""An ONNX model at a precision: the one place that converts to all of them.

Shape legend: N images, C channel, H W space.
"""

import platform
from collections.abc import Collection
from typing import Any

import onnx
from onnx import ModelProto

from pipeline import machine
from pipeline.settings import Build
from pipeline.stage import StageError
from stages.engines.base import PRECISION_KEY, BackendInfo, OnProgress, no_progress
from stages.image_bank import Images
from stages.onnxgraph import calibrate, equalise, four_bits, half, qdq
from stages.onnxgraph.layers import (
    KEPT_BY_NAME,
    Converted,
    KeptFloat,
    at_opset,
    layer_nodes,
    resolve_layers,
    with_names,
)

CALIBRATED = ("int8", "fp8")
ROUNDED = (*CALIBRATED, "int4")
"""Precisions whose weights are so coarse that classes change."""
_VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


class PrecisionConverter:
    """Converts one model to several precisions, measuring ranges of activations once."""

    def __init__(
        self,
        model: ModelProto,
        images_NCHW: Images | None,
        options: Build,
        *,
        is_quantized: bool = False,
        on_progress: OnProgress = no_progress,
    ) -> None:
        """Take an fp32 model and the images for calibration; None: int8 and fp8 are refused.

        A model whose activations are quantized already is int8 as it is, and nothing else.
        `on_progress` follows the calibration.
        """
        self.model = with_names(model)
        self.is_quantized = is_quantized
        self.images_NCHW = images_NCHW
        self.options = options
        self._on_progress = on_progress
        self._source: ModelProto | None = None
        self._equalised_pairs = 0
        self._ranges: dict[tuple[str, tuple[str, ...]], Any] = {}

    def convert(
        self, precision: str, info: BackendInfo, more_float: Collection[str] = ()
    ) -> Converted:
        """Return the model at a precision, in the form that a backend takes.

        Args:
            precision: fp32, fp16, bf16, int8, fp8 or int4.
            info: The backend that will run it.
            more_float: Nodes to leave in fp32 besides those of the settings.

        Raises:
            StageError: No images to calibrate with, or a layer to leave in float is unknown.
        """
        names = self.options.float_layers
        keep = resolve_layers(self.model, names, "build.float_layers") | set(more_float)
        if self.is_quantized:
            if precision != "int8":
                raise StageError(
                    "build.precision",
                    f"the ONNX file is quantized already, so it is int8 (not {precision})",
                    "use int8, or give the file from before quantization",
                )
            converted = Converted(with_names(self.model), ())
        elif precision in CALIBRATED:
            is_int8 = precision == "int8"
            scheme = qdq.SCHEMES[info.scheme if is_int8 else "fp8"]
            self._source = at_opset(self.source(), scheme.opset, precision)
            method = self.options.calibration_method if is_int8 else "distribution"
            converted = qdq.quantize(
                self._source,
                scheme,
                self._ranges_of(method, scheme.ops),
                keep=keep,
                reduce_range=is_int8 and info.scheme == "u8s8" and int8_products_saturate(),
            )
        elif precision == "int4":
            self._source = at_opset(self.source(), four_bits.OPSET, precision)
            kept = [n.name for n in layer_nodes(self._source) if n.name in keep]
            converted = Converted(
                four_bits.round_weights(self._source, keep),
                tuple(KeptFloat(name, KEPT_BY_NAME) for name in kept),
            )
            if info.is_half_in_graph:
                converted = half.convert(converted.model, "fp16", keep=keep)
        elif precision in half.TYPES and info.is_half_in_graph:
            converted = half.convert(self.model, precision, keep=keep)
        else:
            converted = Converted(with_names(self.model), ())
        if precision in ROUNDED:
            converted = converted._replace(equalised_pairs=self._equalised_pairs)
        properties = {entry.key: entry.value for entry in converted.model.metadata_props}
        onnx.helper.set_model_props(converted.model, properties | {PRECISION_KEY: precision})
        return converted

    def source(self) -> ModelProto:
        """Return the fp32 graph whose weights are rounded: the model, or the same equalised."""
        if self._source is None:
            self._source = self.model
            if self.options.equalise:
                self._source, self._equalised_pairs = equalise.equalise(self.model)
        return self._source

    def _ranges_of(self, method: str, ops: tuple[str, ...]) -> Any:
        """Return the ranges of activations around these operators, measured at the first call."""
        if self.images_NCHW is None:
            raise StageError(
                "build.precision",
                "int8 and fp8 need images to calibrate with (none given)",
                "give --calibration: the bank of a distill run, an .npz with x, or a folder",
            )
        if (method, ops) not in self._ranges:
            images_NCHW = self.images_NCHW[: self.options.calibration_images]
            self._ranges[method, ops] = calibrate.activation_ranges(
                self.source(), images_NCHW, method, ops, on_progress=self._on_progress
            )
        return self._ranges[method, ops]


def int8_products_saturate() -> bool:
    """Return whether 8-bit products overflow 16 bits here: an x86 processor without VNNI."""
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return is_x86 and not _VNNI & machine.cpu_features()
