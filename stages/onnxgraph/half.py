"""fp16 and bf16: weights and arithmetic in half precision, images and logits in fp32.

One pass over the graph for both types; the converters at hand make fp16 only. A node goes to half
precision when its operator is one of those that are safe there; casts are put where the two
precisions meet. The preprocessing stays in fp32, since it costs nothing and pixels are exact there.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from pipeline.stage import StageError
from stages.onnxgraph.layers import (
    PREPROCESSING,
    Left,
    Prepared,
    before_first_layer,
    float_names,
    with_names,
)

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}

_SAFE = frozenset(
    ("Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Div",
     "Dropout", "Elu", "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool",
     "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Neg",
     "PRelu", "Pad", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Selu", "Sigmoid", "Slice",
     "Split", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze")
)  # fmt: skip
_BF16_OPSET = 22
"""From here on the standard lets convolutions and pooling take bfloat16."""
_FP16_LARGEST = float(np.finfo(np.float16).max)


def convert(model: ModelProto, precision: str, *, keep: Collection[str]) -> Prepared:
    """Return the model in half precision.

    Args:
        model: An fp32 model with fp32 input and output.
        precision: fp16 or bf16.
        keep: Names of nodes to leave in fp32.

    Raises:
        StageError: The opset knows no bf16 and cannot be raised.
    """
    kind = TYPES[precision]
    model = with_names(_raised(model) if precision == "bf16" else model)
    graph = model.graph
    ahead = before_first_layer(model)
    floats = _float_tensors(model)
    values = {each.name: each for each in graph.initializer}
    left: list[Left] = []
    halves: set[str] = set()
    for node in graph.node:
        why = _why_float(node, floats, values, keep=keep, ahead=ahead, precision=precision)
        if why is None:
            halves.add(node.name)
        elif why:
            left.append(Left(node.name, node.op_type, why))
    _rewrite(model, kind, halves, floats)
    return Prepared(model, tuple(left))


def _raised(model: ModelProto) -> ModelProto:
    versions = [each.version for each in model.opset_import if not each.domain]
    if versions and versions[0] >= _BF16_OPSET:
        return model
    try:
        raised: ModelProto = version_converter.convert_version(model, _BF16_OPSET)
    except (RuntimeError, ValueError) as error:
        raise StageError(
            "build.precision",
            f"bf16 needs opset {_BF16_OPSET}, to which the file cannot be raised ({error})",
            f"export it with opset {_BF16_OPSET}",
        ) from error
    del raised.metadata_props[:]
    raised.metadata_props.extend(model.metadata_props)
    return raised


def _float_tensors(model: ModelProto) -> set[str]:
    """Return the names of all fp32 tensors: weights, inputs and what nodes make."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    typed = [*inferred.input, *inferred.output, *inferred.value_info]
    floats = {v.name for v in typed if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return floats | float_names(inferred.initializer)


def _why_float(
    node: NodeProto,
    floats: set[str],
    values: dict[str, TensorProto],
    *,
    keep: Collection[str],
    ahead: set[str],
    precision: str,
) -> str | None:
    """Return None for a node that goes to half, the reason for one that stays, "" for no float."""
    if not any(name in floats for name in (*node.input, *node.output)):
        return ""
    if node.name in keep:
        return "asked for"
    if node.name in ahead:
        return PREPROCESSING
    if node.op_type not in _SAFE or node.domain not in ("", "ai.onnx"):
        return "operator not known to be safe"
    if precision == "fp16":
        held = [numpy_helper.to_array(values[n]) for n in node.input if n in values and n in floats]
        if any(np.abs(each).max(initial=0.0) > _FP16_LARGEST for each in held):
            return "weights beyond the range of fp16"
    return None


def _rewrite(model: ModelProto, kind: int, halves: set[str], floats: set[str]) -> None:
    """Turn the chosen nodes to half precision and put casts where they meet the others."""
    graph = model.graph
    rewriter = _Rewriter(model, kind, floats)
    for node in graph.node:
        rewriter.take(node, is_half=node.name in halves)
    for output in graph.output:
        rewriter.keep_float(output.name)
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in rewriter.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    # The types of what is between have changed; they follow from the nodes.
    del graph.value_info[:]
    graph.initializer.extend(rewriter.weights.values())
    _drop_unused(model)


class _Rewriter:
    """The nodes of the new graph, in an order that runs, and the weights that they need."""

    def __init__(self, model: ModelProto, kind: int, floats: set[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}
        self._kind = kind
        self._floats = floats
        self._values = {each.name: each for each in model.graph.initializer}
        self._made_half: set[str] = set()
        self._casts: dict[str, str] = {}

    def take(self, node: NodeProto, *, is_half: bool) -> None:
        """Add a node, with its float inputs in its own precision."""
        for number, name in enumerate(node.input):
            if name in self._floats:
                node.input[number] = self._input(name, is_half=is_half)
        if is_half:
            self._made_half |= {name for name in node.output if name in self._floats}
        self.nodes.append(node)

    def keep_float(self, output: str) -> None:
        """Let an output of the graph be fp32 again."""
        if output not in self._made_half:
            return
        inner = f"{output}_inner"
        for node in self.nodes:
            for names in (node.input, node.output):
                for number, name in enumerate(names):
                    if name == output:
                        names[number] = inner
        self._cast(inner, output, TensorProto.FLOAT)

    def _input(self, name: str, *, is_half: bool) -> str:
        if name in self._values:
            if not is_half:
                return name
            if name not in self.weights:
                self.weights[name] = _halved(self._values[name], self._kind)
            return self.weights[name].name
        if is_half == (name in self._made_half):
            return name
        if name not in self._casts:
            self._casts[name] = f"{name}_{'half' if is_half else 'float'}"
            self._cast(name, self._casts[name], self._kind if is_half else TensorProto.FLOAT)
        return self._casts[name]

    def _cast(self, name: str, new: str, kind: int) -> None:
        self.nodes.append(helper.make_node("Cast", [name], [new], name=f"cast_{new}", to=kind))


def _halved(tensor: TensorProto, kind: int) -> TensorProto:
    array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
    made: TensorProto = numpy_helper.from_array(array, f"{tensor.name}_half")
    return made


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
