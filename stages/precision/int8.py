"""int8: Q/DQ pairs around the layers, in the scheme of the backend that will run them.

u8s8: unsigned activations with a zero point, signed weights for each channel; what the kernels
of ONNX Runtime and OpenVINO want on a CPU.
s8s8: symmetric signed activations and weights, biases in float; what TensorRT takes.
"""

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import QuantType

from stages.precision.layers import Left, Prepared, before_first_layer, layers
from stages.precision.ranges import METHODS, quiet

OPS = {
    "u8s8": (
        "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
        "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Squeeze", "Transpose",
        "Unsqueeze",
    ),
    "s8s8": ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
}  # fmt: skip
"""Operators whose inputs and outputs are quantized."""

READY = "onnx.quant.pre_process"
"""The mark that keeps the tool from advising to prepare the model."""


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
    ahead = before_first_layer(model)
    is_symmetric = scheme == "s8s8"
    kind = QuantType.QInt8 if is_symmetric else QuantType.QUInt8
    ready = ModelProto()
    ready.CopyFrom(model)
    ready.metadata_props.add(key=READY, value="onnxruntime.quant")
    with TemporaryDirectory(prefix="madpipe-") as folder, quiet():
        cache, out = Path(folder) / "ranges.json", Path(folder) / "model.onnx"
        quantization.save_tensors_data(ranges, cache)
        quantization.quantize_static(
            ready,
            out,
            op_types_to_quantize=list(OPS[scheme]),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=kind,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(ahead | set(keep)),
            calibrate_method=METHODS[method][0],
            calibration_cache_path=cache,
            extra_options={
                "ActivationSymmetric": is_symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": not is_symmetric,
                # 256 levels of a logit would make ties, and so decide classes by chance.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
            },
        )
        made = onnx.load(str(out))
    restore(made, model)
    left = [
        Left(node.name, node.op_type, "asked for") for node in layers(model) if node.name in keep
    ]
    return Prepared(made, tuple(left))


def restore(made: ModelProto, model: ModelProto) -> None:
    """Put the metadata and the producer back, which the tool overwrites."""
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
