"""fp8 (e4m3fn): Q/DQ pairs around convolutions and matrix products, for TensorRT alone.

Scales by onnxruntime's distribution calibrator, one for each tensor. ONNX Runtime cannot run
such a graph with its optimisations on, so nothing but TensorRT is offered it.
"""

from collections.abc import Collection
from typing import Any

from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType

from stages.onnxgraph.layers import Prepared
from stages.onnxgraph.qdq import quantized

OPS = ("Conv", "Gemm", "MatMul")


def quantize(model: ModelProto, ranges: Any, *, keep: Collection[str]) -> Prepared:
    """Return the model with fp8 Q/DQ pairs.

    Args:
        model: An fp32 model of opset 19 or newer whose nodes have names.
        ranges: Of the activations, from `ranges.measure` with method "distribution".
        keep: Names of nodes to leave in float.
    """
    return quantized(
        model,
        ranges,
        ops=OPS,
        keep=keep,
        activation_type=QuantType.QFLOAT8E4M3FN,
        weight_type=QuantType.QFLOAT8E4M3FN,
        calibrate_method=CalibrationMethod.Distribution,
        extra={"QuantizeBias": False, "OpTypesToExcludeOutputQuantization": list(OPS)},
    )
