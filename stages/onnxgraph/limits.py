"""What an ONNX file may ask of memory and time, told by its shapes before anything computes it.

A file of hundreds of bytes can make a value of terabytes, of a stored shape or of the size of its
images, or loop without end; whoever runs it, or folds its constants, would find out too late.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as arrays

from pipeline.stage import StageError
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.io import tensors_of
from stages.onnxgraph.rewrite import PLACE, inferred_graph

_MOST_BYTES = 1 << 30
"""Of one value for one image: 64 channels of 1024 x 1024 are a quarter of it."""
_ALWAYS_BYTES = 1 << 26
_MOST_TIMES = 4096
"""Of an image's bytes: 64 channels in place of one, at twice the size, are 256 times as many."""
_MOST_TIMES_STORED = 4
_MOST_NODES = 1_000_000
_MOST_ROUNDS = 10_000
"""Of loops, those within them counted."""
_OPEN = -1
"""The size that some exporters give a dimension of any size."""
_MOST_DEPTH = 16
"""Of graphs within graphs."""


def check_functions(model: ModelProto) -> None:
    """Make sure that the functions of a model end when each is put in the place of its calls.

    Raises:
        StageError: They call themselves, or would become far too many nodes.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key in above or len(above) > _MOST_DEPTH:
            wrong = f"has a function that calls itself, or too many others ({key[1]})"
            raise StageError(PLACE, wrong, "export it without functions")
        if key not in sizes:
            sizes[key] = nodes(functions[key].node, (*above, key))
        return sizes[key]

    def nodes(calls: Iterable[NodeProto], above: tuple[tuple[str, str], ...]) -> int:
        count = 0
        for node in calls:
            key = (node.domain, node.op_type)
            count += size(key, above) if key in functions else 1
            count += sum(nodes(inner.node, above) for inner in _inner(node))
        return count

    if functions and (count := nodes(model.graph.node, ())) > _MOST_NODES:
        wrong = f"becomes too large without its functions ({count} nodes)"
        raise StageError(PLACE, wrong, "export it without functions")


def check(model: ModelProto) -> None:
    """Make sure that a sound model makes no value that is far too large, and that it ends.

    Raises:
        StageError: It does; names the value or the node.
    """
    for tensor in tensors_of(model):
        _check_values(tensor)
    _check_loops(model.graph)
    graph = inferred_graph(model)
    images = min(map(_bytes, graph.input), default=0)
    limit = min(_MOST_BYTES, max(_ALWAYS_BYTES, _MOST_TIMES * images))
    limit = max(limit, _MOST_TIMES_STORED * model.ByteSize())
    for value in _values(graph):
        if any(dim.dim_value < _OPEN for dim in value.type.tensor_type.shape.dim):
            wrong = f"has a value of a size below 0 ({value.name}: {_text(value)})"
            raise StageError(PLACE, wrong, "export it again")
        if (size := _bytes(value)) > limit:
            raise StageError(
                PLACE,
                f"makes a value of {size / (1 << 30):.3g} GiB for one image ({value.name}: "
                f"{_text(value)})",
                "export a network whose values are of the size of its images",
            )


def _check_values(tensor: TensorProto) -> None:
    """Make sure that a tensor is whole and has as many values as its shape says.

    The standard's checker does not count them, and neither does what loads them from other files.
    """
    name = tensor.name or "a constant"
    if tensor.HasField("segment"):
        wrong = f"holds a part of a tensor ({name})"
        raise StageError(PLACE, wrong, "export it with whole tensors")
    is_here = tensor.data_location != TensorProto.EXTERNAL
    if tensor.data_type == TensorProto.UNDEFINED or not is_here:
        return
    try:
        arrays.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        shape = " x ".join(map(str, tensor.dims)) or "a scalar"
        wrong = f"has a tensor whose values do not fit its shape ({name}: {shape})"
        raise StageError(PLACE, wrong, "export it again") from error


def check_engine(path: Path, place: str) -> None:
    """Make sure of the same for an engine that is an ONNX file from anywhere; errors as `check`."""
    model = onnx_io.parse(path, place)
    check_functions(model)
    check(model)


def _values(graph: GraphProto) -> Iterator[ValueInfoProto]:
    """Yield the values of a graph and of those within it."""
    yield from (*graph.input, *graph.value_info, *graph.output)
    for node in graph.node:
        for inner in _inner(node):
            yield from _values(inner)


def _bytes(value: ValueInfoProto) -> int:
    """Return the bytes of a value for one image; open dimensions count as one."""
    tensor = value.type.tensor_type
    sizes = [max(dim.dim_value, 1) for dim in tensor.shape.dim]
    try:
        item = helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except (KeyError, TypeError, ValueError):
        item = 1
    return int(math.prod(sizes) * item)


def _text(value: ValueInfoProto) -> str:
    return " x ".join(str(dim.dim_value or "any") for dim in value.type.tensor_type.shape.dim)


def _check_loops(graph: GraphProto) -> None:
    """Make sure that loops end by a stored number of rounds, and graphs are not too deep."""
    stored = {tensor.name: tensor for tensor in _stored(graph)}
    pending = [(graph, 1, 0)]
    while pending:
        part, rounds, depth = pending.pop()
        if depth > _MOST_DEPTH:
            wrong = f"has graphs within graphs, {depth} and more deep ({part.name})"
            raise StageError(PLACE, wrong, "export it without branches of branches")
        for node in part.node:
            count = rounds * _rounds(node, stored) if node.op_type == "Loop" else rounds
            if count > _MOST_ROUNDS:
                raise StageError(
                    PLACE,
                    f"loops without an end that it says, or too often ({node.name or 'Loop'}: "
                    f"at most {_MOST_ROUNDS} rounds)",
                    "export it with loops unrolled",
                )
            pending += [(inner, count, depth + 1) for inner in _inner(node)]


def _rounds(node: NodeProto, stored: dict[str, TensorProto]) -> int:
    """Return how often a loop runs at most; more than is allowed where that is not stored."""
    tensor = stored.get(node.input[0]) if node.input else None
    if tensor is None:
        return _MOST_ROUNDS + 1
    return max(1, int(np.max(arrays.to_array(tensor), initial=0)))


def _stored(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensor = TensorProto.FromString(attribute.t.SerializeToString())
                    tensor.name = node.output[0]
                    yield tensor
        for inner in _inner(node):
            yield from _stored(inner)


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
