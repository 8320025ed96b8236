"""The layers of an ONNX graph: their names, and which of them are to stay in float."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from onnx import ModelProto, NodeProto, TensorProto

from pipeline.errors import did_you_mean
from pipeline.stage import StageError

LAYER_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, in which nearly all arithmetic is."""

_SHOWN = 4


PREPROCESSING = "preprocessing"


class Left(NamedTuple):
    """A node that was left in float."""

    node: str
    op: str
    why: str


class Prepared(NamedTuple):
    """A model at a precision."""

    model: ModelProto
    left: tuple[Left, ...]
    """Nodes that were left in float, in the order of the graph."""

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Return the nodes that were left in float, but for those that prepare the images."""
        return tuple(each.node for each in self.left if each.why != PREPROCESSING)


def with_names(model: ModelProto) -> ModelProto:
    """Return a copy whose nodes all have names of their own, which tools go by."""
    copied = ModelProto()
    copied.CopyFrom(model)
    taken: set[str] = set()
    for number, node in enumerate(copied.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
    return copied


def layers(model: ModelProto) -> list[NodeProto]:
    """Return the nodes with weights, in the order of the graph."""
    held = {each.name for each in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in LAYER_OPS and any(name in held for name in node.input[1:2])
    ]


def chosen(model: ModelProto, names: Sequence[str], place: str) -> set[str]:
    """Return the node names that `names` stand for: `first`, `last`, a node or its weight.

    Raises:
        StageError: A name fits no layer.
    """
    found = layers(model)
    by_name = {node.name: node.name for node in found}
    by_name |= {node.input[1]: node.name for node in found}
    by_name |= {node.input[1].removesuffix(".weight"): node.name for node in found}
    if found:
        by_name |= {"first": found[0].name, "last": found[-1].name}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        some = ", ".join(node.name for node in found[:_SHOWN])
        raise StageError(
            place,
            f"names no layer of the network{did_you_mean(unknown[0], by_name)} ({unknown[0]})",
            f"use first, last or a layer's name, such as {some}",
        )
    return {by_name[name] for name in names}


def before_first_layer(model: ModelProto) -> set[str]:
    """Return the names of the nodes ahead of the first layer: the preprocessing."""
    found = layers(model)
    if not found:
        return set()
    makers = {name: node for node in model.graph.node for name in node.output}
    ahead: set[str] = set()
    waiting = list(found[0].input)
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in ahead:
            ahead.add(node.name)
            waiting.extend(node.input)
    return ahead


def float_names(tensors: Iterable[TensorProto]) -> set[str]:
    """Return the names of the fp32 tensors among `tensors`."""
    return {each.name for each in tensors if each.data_type == TensorProto.FLOAT}
