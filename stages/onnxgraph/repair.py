"""What other programs write askew and ONNX Runtime reads all the same, put straight.

Nothing here changes what a graph computes.
"""

from collections.abc import Iterable

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

_ZIP_MAP = "ZipMap"


def repair(model: ModelProto) -> tuple[str, ...]:
    """Sort nodes, tell apart those of one name, and leave out what no classifier needs.

    Inputs that nothing takes are left out, and the mappings from names of classes that sklearn's
    exporter puts at the end are replaced by the tensor that they are made of.

    Returns:
        What was left out, a sentence each.
    """
    graph = model.graph
    _sort(graph)
    graph.name = graph.name or "graph"
    names: set[str] = set()
    for number, node in enumerate(graph.node):
        if node.name and node.name in names:
            node.name = f"{node.name}_{number}"
        names.add(node.name)
    return (*_without_maps(graph), *_without_unused_inputs(graph))


def _sort(graph: GraphProto) -> None:
    """Put nodes behind those whose outputs they take, where they are not; cycles stay."""
    outputs = {name for node in graph.node for name in node.output}
    ready: set[str] = set()
    pending, ordered = list(graph.node), list[NodeProto]()
    while pending:
        later: list[NodeProto] = []
        for node in pending:
            if {name for name in _inputs(node) if name in outputs} <= ready:
                ready.update(node.output)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(pending):
            return
        pending = later
    if any(one is not other for one, other in zip(ordered, graph.node, strict=True)):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in ordered]
        graph.ClearField("node")
        graph.node.extend(copies)


def _inputs(node: NodeProto) -> Iterable[str]:
    """Yield the names of values that a node and the graphs within it take."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for other in inner.node:
                yield from _inputs(other)


def _without_maps(graph: GraphProto) -> Iterable[str]:
    makers = {node.output[0]: node for node in graph.node if node.op_type == _ZIP_MAP}
    for output in graph.output:
        if output.name in makers:
            yield f"its output {output.name}, a mapping, was taken as the tensor it is made of"
            maker = makers[output.name]
            maker.op_type, maker.domain = "Identity", ""
            maker.ClearField("attribute")
            floats = TypeProto.Tensor(elem_type=TensorProto.FLOAT)
            output.type.CopyFrom(TypeProto(tensor_type=floats))


def _without_unused_inputs(graph: GraphProto) -> Iterable[str]:
    inputs = {name for node in graph.node for name in _inputs(node)}
    inputs |= {output.name for output in graph.output}
    unused = [value for value in graph.input if value.name not in inputs]
    for value in unused if len(unused) < len(graph.input) else ():
        yield f"its input {value.name}, which nothing takes, was left out"
        graph.input.remove(value)
