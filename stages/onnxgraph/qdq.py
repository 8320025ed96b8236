"""int8 and fp8: Q/DQ pairs around the layers, put there by onnxruntime's static quantizer.

int8 comes in the scheme of the backend that will run the graph:
u8s8: unsigned activations with a zero point, signed weights with a scale for each channel; what
the kernels of ONNX Runtime and OpenVINO want on a CPU.
s8s8: symmetric signed activations and weights, biases in float; what TensorRT takes.

fp8 (e4m3fn), with one scale for each tensor, is for TensorRT alone: ONNX Runtime cannot run such a
graph with its optimisations on.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantType

from stages.onnxgraph.calibrate import METHODS, quiet
from stages.onnxgraph.layers import (
    KEPT_BY_NAME,
    Converted,
    KeptFloat,
    layer_nodes,
    nodes_before_layers,
)

INT8_OPS = {
    "u8s8": (
        "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
        "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Squeeze", "Transpose",
        "Unsqueeze",
    ),
    "s8s8": ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
}  # fmt: skip
"""Scheme -> operators whose inputs and outputs are quantized."""
FP8_OPS = ("Conv", "Gemm", "MatMul")

_PREPROCESSED_KEY = "onnx.quant.pre_process"


def quantize_int8(
    model: ModelProto,
    scheme: str,
    ranges: Any,
    *,
    method: str,
    keep: Collection[str],
    reduce_range: bool,
) -> Converted:
    """Return the model with int8 Q/DQ pairs.

    Args:
        model: An fp32 model whose nodes have names.
        scheme: u8s8 or s8s8.
        ranges: Of the activations around `INT8_OPS[scheme]`, from `calibrate.activation_ranges`.
        method: How they were measured.
        keep: Names of nodes to leave in float.
        reduce_range: Weights of 7 bits, for CPUs whose 8-bit products saturate in 16.
    """
    is_symmetric = scheme == "s8s8"
    return _quantize(
        model,
        ranges,
        ops=INT8_OPS[scheme],
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


def quantize_fp8(model: ModelProto, ranges: Any, *, keep: Collection[str]) -> Converted:
    """Return the model with fp8 Q/DQ pairs.

    Args:
        model: An fp32 model of opset 19 or newer whose nodes have names.
        ranges: Of the activations around `FP8_OPS`, by the method "distribution".
        keep: Names of nodes to leave in float.
    """
    return _quantize(
        model,
        ranges,
        ops=FP8_OPS,
        keep=keep,
        activation_type=QuantType.QFLOAT8E4M3FN,
        weight_type=QuantType.QFLOAT8E4M3FN,
        calibrate_method=CalibrationMethod.Distribution,
        extra={"QuantizeBias": False, "OpTypesToExcludeOutputQuantization": list(FP8_OPS)},
    )


def _quantize(
    model: ModelProto,
    ranges: Any,
    *,
    ops: Collection[str],
    keep: Collection[str],
    extra: Mapping[str, Any],
    **options: Any,
) -> Converted:
    """Return the model with Q/DQ pairs by options of the tool's own, a copy beside `model`."""
    source = ModelProto()
    source.CopyFrom(model)
    # The mark that keeps the tool from advising to prepare the model.
    source.metadata_props.add(key=_PREPROCESSED_KEY, value="onnxruntime.quant")
    with TemporaryDirectory(prefix="madpipe-") as folder, quiet():
        ranges_path, out = Path(folder) / "ranges.json", Path(folder) / "model.onnx"
        quantization.save_tensors_data(ranges, ranges_path)
        quantization.quantize_static(
            source,
            out,
            op_types_to_quantize=list(ops),
            nodes_to_exclude=sorted(nodes_before_layers(model) | set(keep)),
            calibration_cache_path=ranges_path,
            extra_options=dict(extra),
            **options,
        )
        quantized = onnx.load(str(out))
    # The tool overwrites the metadata and the producer.
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.producer_name = model.producer_name
    quantized.producer_version = model.producer_version
    kept = [KeptFloat(node.name, KEPT_BY_NAME) for node in layer_nodes(model) if node.name in keep]
    return Converted(quantized, tuple(kept))
