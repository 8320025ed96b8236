"""The layers of an ONNX graph: their names, and which of them are to stay in float."""

from collections.abc import Sequence
from typing import NamedTuple

from onnx import ModelProto, NodeProto, TensorProto, version_converter

from pipeline.errors import did_you_mean, first_line
from pipeline.stage import StageError

ONNX_DOMAINS = ("", "ai.onnx")
"""Of the standard's own operators."""

LAYER_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, in which nearly all arithmetic is."""
KEPT_BY_NAME = "named to stay in float"
PREPROCESSING = "preprocessing"

_EXAMPLES = 4


class KeptFloat(NamedTuple):
    """A node that stayed in fp32."""

    node: str
    reason: str


class Converted(NamedTuple):
    """A model at a precision."""

    model: ModelProto
    kept_float: tuple[KeptFloat, ...]
    """In the order of the graph."""
    reduced_layers: int = 0
    """Layers whose int8 weights have 7 bits."""
    full_range_layers: int = 0
    """Depthwise layers beside those, whose weights keep 8."""

    equalised_pairs: int = 0
    """Pairs of layers whose channels were brought to one range before rounding."""

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Return the nodes that stayed in fp32, but for those that prepare the images."""
        return tuple(kept.node for kept in self.kept_float if kept.reason != PREPROCESSING)


def with_names(model: ModelProto) -> ModelProto:
    """Return a copy whose nodes all have names of their own, which tools go by."""
    copied = ModelProto()
    copied.CopyFrom(model)
    names: set[str] = set()
    for number, node in enumerate(copied.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{number}"
        names.add(node.name)
    return copied


def at_opset(model: ModelProto, least: int, precision: str) -> ModelProto:
    """Return the model, or a copy raised to the least opset that a precision needs.

    StageError where it cannot be raised.
    """
    versions = [o.version for o in model.opset_import if o.domain in ONNX_DOMAINS]
    if versions and versions[0] >= least:
        return model
    try:
        raised: ModelProto = version_converter.convert_version(model, least)
    except (RuntimeError, ValueError) as error:
        raise StageError(
            "build.precision",
            f"{precision} needs opset {least}, to which the file cannot be raised "
            f"(from {versions[0] if versions else 'none'}: {first_line(error)})",
            f"export it with opset {least}",
        ) from error
    del raised.metadata_props[:]
    raised.metadata_props.extend(model.metadata_props)
    return raised


def int_attribute(node: NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node, `default` where the node has none of that name."""
    return next((entry.i for entry in node.attribute if entry.name == name), default)


def layer_nodes(model: ModelProto) -> list[NodeProto]:
    """Return the nodes with weights, in the order of the graph."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in LAYER_OPS and any(name in weights for name in node.input[1:2])
    ]


def is_depthwise(node: NodeProto, weight: TensorProto) -> bool:
    """Return whether a layer convolves channel by channel, and so sums over none."""
    groups = int_attribute(node, "group", 1)
    return node.op_type == "Conv" and groups == weight.dims[0] and weight.dims[1] == 1


def resolve_layers(model: ModelProto, names: Sequence[str], place: str) -> set[str]:
    """Return the node names that `names` stand for: `first`, `last`, a node or its weight.

    Raises:
        StageError: A name fits no layer.
    """
    nodes = layer_nodes(model)
    by_name = {node.name: node.name for node in nodes}
    by_name |= {node.input[1]: node.name for node in nodes}
    by_name |= {node.input[1].removesuffix(".weight"): node.name for node in nodes}
    if nodes:
        by_name |= {"first": nodes[0].name, "last": nodes[-1].name}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        examples = ", ".join(node.name for node in nodes[:_EXAMPLES])
        raise StageError(
            place,
            f"names no layer of the network{did_you_mean(unknown[0], by_name)} ({unknown[0]})",
            f"use first, last or a layer's name, such as {examples}",
        )
    return {by_name[name] for name in names}


def nodes_before_layers(model: ModelProto) -> set[str]:
    """Return the names of the nodes ahead of the first layer: the preprocessing."""
    nodes = layer_nodes(model)
    if not nodes:
        return set()
    producers = {name: node for node in model.graph.node for name in node.output}
    ahead: set[str] = set()
    pending = list(nodes[0].input)
    while pending:
        node = producers.get(pending.pop())
        if node is not None and node.name not in ahead:
            ahead.add(node.name)
            pending.extend(node.input)
    return ahead
