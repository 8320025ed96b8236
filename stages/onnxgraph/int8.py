"""int8: Q/DQ pairs around the layers, in the scheme of the backend that will run them.

u8s8: unsigned activations with a zero point, signed weights for each channel; what the kernels
of ONNX Runtime and OpenVINO want on a CPU.
s8s8: symmetric signed activations and weights, biases in float; what TensorRT takes.
"""

from collections.abc import Collection
from typing import Any

from onnx import ModelProto
from onnxruntime.quantization import QuantType

from stages.onnxgraph.calibrate import METHODS
from stages.onnxgraph.layers import Prepared
from stages.onnxgraph.qdq import quantized

OPS = {
    "u8s8": (
        "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
        "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Squeeze", "Transpose",
        "Unsqueeze",
    ),
    "s8s8": ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
}  # fmt: skip
"""Operators whose inputs and outputs are quantized."""


def quantize(
    model: ModelProto,
    scheme: str,
    ranges: Any,
    *,
    method: str,
    keep: Collection[str],
    reduce_range: bool,
) -> Prepared:
    """Return the model with Q/DQ pairs.

    Args:
        model: An fp32 model whose nodes have names.
        scheme: u8s8 or s8s8.
        ranges: Of the activations, from `ranges.measure`.
        method: How they were measured.
        keep: Names of nodes to leave in float.
        reduce_range: Weights of 7 bits, for CPUs whose 8-bit products saturate in 16.
    """
    is_symmetric = scheme == "s8s8"
    return quantized(
        model,
        ranges,
        ops=OPS[scheme],
        keep=keep,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[method][0],
        extra={
            "ActivationSymmetric": is_symmetric,
            "WeightSymmetric": True,
            "QuantizeBias": not is_symmetric,
            # 256 levels of a logit would make ties, and so decide classes by chance.
            "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
        },
    )
