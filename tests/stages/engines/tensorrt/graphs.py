"""Graphs for TensorRT in three arithmetics, of a resnet8 wide enough that weights dominate."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.resnet import CifarResNet
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export
from tests.stages.tiny import card

WIDTH = 64


def write(folder: Path) -> dict[str, Path]:
    """Write the graphs and return them by their precision."""
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    network = CifarResNet(depth=8, width=WIDTH, in_channels=1, num_classes=10).eval()
    model = torch_export.from_torch(network, card(), opset=18)
    onnx_io.save(model, paths["fp32"])
    onnx.save(convert_float_to_float16(model, keep_io_types=True), str(paths["fp16"]))
    quantization.quantize_static(
        str(paths["fp32"]),
        str(paths["int8"]),
        _Noise(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        },
    )
    return paths


class _Noise(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Two batches of noise, enough to have some ranges."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._left = [rng.random((4, 1, 8, 8), dtype=np.float32) for _ in range(2)]

    def get_next(self) -> dict[str, Any] | None:
        return {onnx_io.INPUT: self._left.pop()} if self._left else None
