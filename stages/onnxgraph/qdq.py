"""int8 and fp8: Q/DQ pairs around the layers, by onnxruntime, from the ranges of `calibrate.py`.

int8 comes in the scheme of the backend that will run the graph:
u8s8: unsigned activations with a zero point, signed weights with a scale for each channel; what
the kernels of ONNX Runtime and OpenVINO want on a CPU.
s8s8: symmetric signed activations and weights, biases in float; what TensorRT takes.

fp8 (e4m3fn), with one scale for each tensor, is for TensorRT alone: ONNX Runtime cannot run such a
graph with its optimisations on.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import QuantType

from pipeline.errors import StageError, first_line
from stages.onnxgraph import layers
from stages.onnxgraph.calibrate import quiet
from stages.onnxgraph.layers import Converted, KeptFloat


class Scheme(NamedTuple):
    """How a graph is quantized."""

    ops: tuple[str, ...]
    """Operators whose inputs and outputs are quantized."""
    activation_type: QuantType
    weight_type: QuantType = QuantType.QInt8
    is_symmetric: bool = False
    """Whether activations have no zero point."""
    has_channel_scales: bool = True
    opset: int = 13
    """The least; from 13 on there are scales for each channel, from 19 on fp8."""
    quantizes_bias: bool = False
    float_outputs: tuple[str, ...] = ("Gemm", "MatMul")
    """Operators whose outputs are not: 256 levels of a logit would make ties, and so decide classes
    by chance."""


_FP8_OPS = ("Conv", "Gemm", "MatMul")
SCHEMES = {
    "u8s8": Scheme(
        (
            "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
            "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Squeeze",
            "Transpose", "Unsqueeze",
        ),
        QuantType.QUInt8,
        quantizes_bias=True,
    ),
    "s8s8": Scheme(
        ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
        QuantType.QInt8,
        is_symmetric=True,
    ),
    "fp8": Scheme(
        _FP8_OPS,
        QuantType.QFLOAT8E4M3FN,
        QuantType.QFLOAT8E4M3FN,
        has_channel_scales=False,
        opset=19,
        float_outputs=_FP8_OPS,
    ),
}  # fmt: skip


def quantize(
    model: ModelProto,
    scheme: Scheme,
    ranges: Any,
    *,
    keep: Collection[str],
    reduce_range: bool = False,
) -> Converted:
    """Return the model with Q/DQ pairs, a copy beside `model`.

    Args:
        model: An fp32 model whose nodes have names; of the scheme's opset or newer.
        scheme: One of `SCHEMES`.
        ranges: Of the activations around its operators, from `calibrate.activation_ranges`; for
            fp8 those of "distribution".
        keep: Names of nodes to leave in float.
        reduce_range: Weights of 7 bits, for CPUs whose 8-bit products saturate in 16. Depthwise
            ones, which lose most by it, keep 8: their kernels multiply in 16 bits.
    """
    source = ModelProto()
    source.CopyFrom(model)
    full_range = _full_range(model, scheme) if reduce_range else {}
    # Not `quantize_static`, which before ONNX Runtime 1.27 takes no ranges that are known.
    with quiet():
        try:
            quantizer = quantization.QDQQuantizer(
                source,
                per_channel=scheme.has_channel_scales,
                reduce_range=reduce_range,
                weight_qType=scheme.weight_type,
                activation_qType=scheme.activation_type,
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=sorted(layers.nodes_before_layers(model) | set(keep)),
                op_types_to_quantize=list(scheme.ops),
                extra_options={
                    "ActivationSymmetric": scheme.is_symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": scheme.quantizes_bias,
                    "OpTypesToExcludeOutputQuantization": list(scheme.float_outputs),
                    "TensorQuantOverrides": full_range,
                },
            )
            quantizer.quantize_model()
        except ValueError as error:
            raise _refusal(model, error) from error
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    _copy_origin(model, quantized)
    nodes = layers.layer_nodes(model)
    kept = tuple(KeptFloat(n.name, layers.KEPT_BY_NAME) for n in nodes if n.name in keep)
    others = [n.input[1] for n in nodes if n.op_type in scheme.ops and n.name not in keep]
    full = sum(weight in full_range for weight in others)
    return Converted(quantized, kept, (len(others) - full) * reduce_range, full)


def _copy_origin(model: ModelProto, quantized: ModelProto) -> None:
    """Put back the metadata and the producer, which the tool overwrites."""
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.producer_name = model.producer_name
    quantized.producer_version = model.producer_version


def _full_range(model: ModelProto, scheme: Scheme) -> dict[str, Any]:
    """Return what gives the weights that only depthwise layers take 8 bits, by their names."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    by_kind: dict[bool, set[str]] = {True: set(), False: set()}
    for node in layers.layer_nodes(model):
        by_kind[layers.is_depthwise(node, stored[node.input[1]])].add(node.input[1])
    channels = {"axis": 0} if scheme.has_channel_scales else {}
    names = sorted(by_kind[True] - by_kind[False])
    return {name: [{**channels, "reduce_range": False}] for name in names}


def _refusal(model: ModelProto, error: ValueError) -> StageError:
    """Return the error for a graph that the tool cannot quantize."""
    foreign = {
        f"{n.domain}.{n.op_type}": None
        for n in model.graph.node
        if n.domain not in layers.ONNX_DOMAINS
    }
    operators = ", ".join(foreign) or first_line(error)
    return StageError(
        "build.precision",
        f"int8 and fp8 cannot be made of this graph ({operators})",
        "give the file from before ONNX Runtime or another program optimised it"
        if foreign
        else "use another precision",
    )
