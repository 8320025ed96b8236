"""fp16 and bf16: weights and arithmetic in half precision, images and logits in fp32.

One pass over the graph for both types; the converters at hand make fp16 only. A node goes to half
precision when its operator is one of those that are safe there; casts are put where the two
precisions meet. The preprocessing stays in fp32, since it costs nothing and pixels are exact there.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stages.onnxgraph.layers import (
    KEPT_BY_NAME,
    ONNX_DOMAINS,
    PREPROCESSING,
    Converted,
    KeptFloat,
    at_opset,
    nodes_before_layers,
    with_names,
)

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

_SAFE = frozenset(
    ("Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose",
     "DequantizeLinear", "Div", "Dropout", "Elu", "Flatten", "Gelu", "Gemm",
     "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
     "MatMul", "MaxPool", "Mul", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMean", "Relu",
     "Reshape", "Selu", "Sigmoid", "Slice", "Split", "Squeeze", "Sub", "Tanh", "Transpose",
     "Unsqueeze")
)  # fmt: skip
_BF16_OPSET = 22
"""From here on the standard lets convolutions and pooling take bfloat16."""
_FP16_LARGEST = float(np.finfo(np.float16).max)


def convert(model: ModelProto, precision: str, *, keep: Collection[str]) -> Converted:
    """Return the model in half precision.

    Args:
        model: An fp32 model with fp32 input and output; its weights may have 4 bits.
        precision: fp16 or bf16.
        keep: Names of nodes to leave in fp32.

    Raises:
        StageError: The opset knows no bf16 and cannot be raised.
    """
    model = with_names(at_opset(model, _BF16_OPSET, precision) if precision == "bf16" else model)
    graph = model.graph
    ahead = nodes_before_layers(model)
    kept: list[KeptFloat] = []
    rewriter = _Rewriter(model, precision)
    for node in graph.node:
        reason = rewriter.reason_for_float(node, keep, ahead)
        if reason:
            kept.append(KeptFloat(node.name, reason))
        rewriter.add(node, is_half=reason is None)
    for output in graph.output:
        rewriter.restore_float(output.name)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in rewriter.nodes]
    used_names = {name for node in nodes for name in node.input}
    tensors = (*graph.initializer, *rewriter.half_weights.values())
    used = [tensor for tensor in tensors if tensor.name in used_names]
    # The types of what is between have changed; they follow from the nodes.
    for field in ("node", "initializer", "value_info"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend(used)
    return Converted(model, tuple(kept))


class _Rewriter:
    """The nodes of the new graph, in an order that runs, and the weights that they need."""

    def __init__(self, model: ModelProto, precision: str) -> None:
        self.nodes: list[NodeProto] = []
        self.half_weights: dict[str, TensorProto] = {}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._precision = precision
        self._elem_type = TYPES[precision]
        inferred = onnx.shape_inference.infer_shapes(model).graph
        types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
        for value in (*inferred.input, *inferred.output, *inferred.value_info):
            types[value.name] = value.type.tensor_type.elem_type
        self._floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
        self._half_values: set[str] = set()
        self._casts: dict[str, str] = {}

    def reason_for_float(
        self, node: NodeProto, keep: Collection[str], ahead: Collection[str]
    ) -> str | None:
        """Return None for a node that goes to half, why one stays, "" for one without floats."""
        if self._floats.isdisjoint((*node.input, *node.output)):
            return ""
        if node.name in keep:
            return KEPT_BY_NAME
        if node.name in ahead:
            return PREPROCESSING
        if node.op_type not in _SAFE or node.domain not in ONNX_DOMAINS:
            return "operator not known to be safe"
        weights = self._floats.intersection(node.input, self._weights)
        if self._precision == "fp16" and any(
            np.abs(numpy_helper.to_array(self._weights[name])).max(initial=0.0) > _FP16_LARGEST
            for name in weights
        ):
            return "weights beyond the range of fp16"
        return None

    def add(self, node: NodeProto, *, is_half: bool) -> None:
        """Add a node, with its float inputs in its own precision."""
        for number, name in enumerate(node.input):
            if name in self._floats:
                node.input[number] = self._input(name, is_half=is_half)
        if is_half:
            self._half_values |= {name for name in node.output if name in self._floats}
        self.nodes.append(node)

    def restore_float(self, output: str) -> None:
        """Let an output of the graph be fp32 again."""
        if output not in self._half_values:
            return
        inner = f"{output}_inner"
        for node in self.nodes:
            for names in (node.input, node.output):
                for number, name in enumerate(names):
                    if name == output:
                        names[number] = inner
        self._cast(inner, output, TensorProto.FLOAT)

    def _input(self, name: str, *, is_half: bool) -> str:
        """Return the name of a float tensor in a precision, adding a cast where there is none."""
        if name in self._weights:
            if not is_half:
                return name
            if name not in self.half_weights:
                array = numpy_helper.to_array(self._weights[name])
                array = array.astype(helper.tensor_dtype_to_np_dtype(self._elem_type))
                self.half_weights[name] = numpy_helper.from_array(array, f"{name}_half")
            return self.half_weights[name].name
        if is_half == (name in self._half_values):
            return name
        if name not in self._casts:
            self._casts[name] = f"{name}_{'half' if is_half else 'float'}"
            self._cast(name, self._casts[name], self._elem_type if is_half else TensorProto.FLOAT)
        return self._casts[name]

    def _cast(self, name: str, new: str, elem_type: int) -> None:
        node = helper.make_node("Cast", [name], [new], name=f"cast_{new}", to=elem_type)
        self.nodes.append(node)
