"""Changes to a foreign graph that leave what it computes as it is: types, constants, the batch.

Shape legend: N images, C channel, H W space, K classes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as arrays

from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.onnxgraph.io import tensors_of
from stages.onnxgraph.layers import LAYER_OPS

PLACE = "the ONNX file"
BATCH = "batch"

_FLOATS: dict[int, str] = {TensorProto.FLOAT16: "FLOAT16", TensorProto.BFLOAT16: "BFLOAT16"}
_DOUBLE: dict[int, str] = {TensorProto.DOUBLE: "DOUBLE"}
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")
_QUANTIZED_OPS = frozenset(
    ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul")
)
_CONSTANT_OPS = frozenset(
    ("Add", "Cast", "CastLike", "Concat", "Constant", "DequantizeLinear", "Div", "Identity", "Mul",
     "Pad", "QuantizeLinear", "Reshape", "Slice", "Split", "Squeeze", "Sub", "Transpose",
     "Unsqueeze")
)  # fmt: skip
"""What exporters put between a stored weight and the layer that takes it."""
_MAY_BE_INFINITE = frozenset(("Add", "Clip", "Max", "Min", "Pad", "Where"))
"""Operators for which an infinity is a mask or a bound."""


def inferred_graph(model: ModelProto) -> GraphProto:
    """Return the graph of a model with the types of all values that follow from its nodes."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # of several classes, by what is wrong
        wrong = f"is no sound ONNX file ({first_line(error)})"
        raise StageError(PLACE, wrong, "export it again") from error


def inferred_values(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Return every value of a model whose type follows from its nodes, by name."""
    graph = inferred_graph(model)
    return {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}


def to_fp32(model: ModelProto) -> tuple[str, ...]:
    """Make half-precision values fp32, and double-precision ones where images or logits are.

    Returns the names of the types that were there.
    """
    graph = model.graph
    ends = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    from_types: dict[int, str] = _FLOATS | (_DOUBLE if ends & set(_DOUBLE) else {})
    seen: set[int] = ends & set(from_types)
    for tensor in tensors_of(model):
        if tensor.data_type in from_types:
            seen.add(tensor.data_type)
            name = tensor.name
            tensor.CopyFrom(arrays.from_array(arrays.to_array(tensor).astype(np.float32), name))
    for node in all_nodes(graph):
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in from_types:
                seen.add(attribute.i)
                attribute.i = TensorProto.FLOAT
    if seen:
        for value in (*graph.input, *graph.output):
            if value.type.tensor_type.elem_type in from_types:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        graph.ClearField("value_info")
    return tuple(from_types[elem_type] for elem_type in sorted(seen))


def all_nodes(graph: GraphProto) -> Iterable[NodeProto]:
    """Yield the nodes of a graph and of those within them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)


def is_quantized(model: ModelProto) -> bool:
    """Return whether activations are integers: it was quantized, not only its weights stored so."""
    depends = _depends_on_images(model.graph)
    return any(
        node.op_type in _QUANTIZED_OPS
        or node.op_type.startswith(("QLinear", "QGemm", "QAttention", "DynamicQuantize"))
        or (node.op_type == "QuantizeLinear" and node.input[0] in depends)
        for node in all_nodes(model.graph)
    )


def _depends_on_images(graph: GraphProto) -> set[str]:
    """Return the names of the values that follow from the graph's input."""
    depends = {value.name for value in graph.input}
    for node in graph.node:
        if not depends.isdisjoint(node.input):
            depends.update(node.output)
    return depends


def fold_weights(model: ModelProto) -> bool:
    """Compute the weights of layers that nodes make of stored ones; return whether from integers.

    Whatever goes by weights, such as quantization, then sees them.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    makers: dict[str, NodeProto] = {}
    known = set(stored)
    for node in graph.node:
        if node.op_type in _CONSTANT_OPS and known.issuperset(filter(None, node.input)):
            known.update(node.output)
            makers |= dict.fromkeys(node.output, node)
    targets = {
        name
        for node in graph.node
        if node.op_type in LAYER_OPS
        for name in node.input[1:]
        if name in makers
    }
    if not targets:
        return False
    needed, read = _ancestors(targets, makers), set[str]()
    for node in needed:
        read.update(set(node.input) & set(stored))
    inner = helper.make_graph(
        needed,
        "weights",
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(targets)],
        [stored[name] for name in sorted(read)],
    )
    part = helper.make_model(inner, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for name, array in zip(sorted(targets), session.run(sorted(targets), {}), strict=True):
        graph.initializer.append(arrays.from_array(np.ascontiguousarray(array), name))
    kept = [node for node in graph.node if targets.isdisjoint(node.output)]
    _replace_nodes(graph, kept)
    remove_unused(graph)
    tables = stored | _constants(needed)
    return any(
        node.op_type in ("Cast", "DequantizeLinear")
        and node.input[0] in tables
        and tables[node.input[0]].data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE)
        for node in needed
    )


def _constants(nodes: Iterable[NodeProto]) -> dict[str, TensorProto]:
    """Return the tensors that nodes hold as constants, by the name of the value."""
    return {
        node.output[0]: attribute.t
        for node in nodes
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }


def _ancestors(names: set[str], makers: dict[str, NodeProto]) -> list[NodeProto]:
    """Return the nodes that values are made by, in the order of the graph."""
    pending, wanted = list(names), set[str]()
    while pending:
        node = makers.get(pending.pop())
        if node is not None and node.output[0] not in wanted:
            wanted.add(node.output[0])
            pending.extend(node.input)
    return [node for name, node in makers.items() if name == node.output[0] and name in wanted]


def check_finite(model: ModelProto) -> None:
    """Make sure that weights are numbers; StageError names the first that is not."""
    users: dict[str, set[str]] = {}
    for node in all_nodes(model.graph):
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    for tensor in tensors_of(model):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        array = arrays.to_array(tensor)
        if np.isfinite(array).all():
            continue
        is_bound = users.get(tensor.name, set()) <= _MAY_BE_INFINITE
        if np.isnan(array).any() or not is_bound:
            wrong = int((~np.isfinite(array)).sum())
            raise StageError(
                PLACE,
                f"holds weights that are not finite ({tensor.name or 'a constant'}: {wrong} of "
                f"{array.size} are nan or inf)",
                "train or export it again; no precision can hold them",
            )


def transpose_input(graph: GraphProto, perm: Sequence[int]) -> None:
    """Let the graph take images in the layout of which `perm` makes the present one.

    A transpose that leads back at once is left out with the new one.
    """
    images = graph.input[0]
    inverse = [list(perm).index(axis) for axis in range(len(perm))]
    name, old = images.name, f"{images.name}_as_stored"
    for node in graph.node:
        is_inverse = node.op_type == "Transpose" and any(
            list(attribute.ints) == inverse for attribute in node.attribute
        )
        if name in node.input and is_inverse:
            node.op_type = "Identity"
            del node.attribute[:]
            continue
        for number, value in enumerate(node.input):
            if value == name:
                node.input[number] = old
    if any(old in node.input for node in graph.node):
        transpose = helper.make_node("Transpose", [name], [old], name=f"{old}_node", perm=perm)
        _replace_nodes(graph, [transpose, *graph.node])
    dims = [onnx.TensorShapeProto.Dimension.FromString(dim.SerializeToString())
            for dim in images.type.tensor_type.shape.dim]  # fmt: skip
    del images.type.tensor_type.shape.dim[:]
    images.type.tensor_type.shape.dim.extend(dims[axis] for axis in inverse)
    graph.ClearField("value_info")


def normalise_input(graph: GraphProto, mean: Sequence[float], std: Sequence[float]) -> None:
    """Let the graph take images in [0, 1], and subtract the mean and divide by the std itself.

    Its images are NCHW; there is a value for each channel.
    """
    name = graph.input[0].name
    centred, normalised = f"{name}_centred", f"{name}_normalised"
    for node in graph.node:
        for number, value in enumerate(node.input):
            if value == name:
                node.input[number] = normalised
    for suffix, numbers in (("mean", mean), ("std", std)):
        array = np.asarray(numbers, np.float32).reshape(1, -1, 1, 1)
        graph.initializer.append(arrays.from_array(array, f"{name}_{suffix}"))
    first = [
        helper.make_node("Sub", [name, f"{name}_mean"], [centred], name=f"{centred}_node"),
        helper.make_node("Div", [centred, f"{name}_std"], [normalised], name=f"{normalised}_node"),
    ]
    _replace_nodes(graph, [*first, *graph.node])


def free_batch(model: ModelProto) -> None:
    """Make a fixed batch dynamic, also where constants that reshape name it.

    Whether images are then still independent of one another is for whoever runs it to check.
    """
    graph = model.graph
    values, depends = inferred_values(model), _depends_on_images(graph)
    stored = {tensor.name for tensor in graph.initializer} | set(_constants(graph.node))
    for number, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[0] not in depends or node.input[1] not in stored:
            continue
        dims = values[node.output[0]].type.tensor_type.shape.dim if node.output[0] in values else ()
        rest = [dim.dim_value for dim in dims][1:]
        if not dims or not all(rest):
            continue
        name = f"{node.input[1]}_any_batch_{number}"
        graph.initializer.append(arrays.from_array(np.array([-1, *rest], np.int64), name))
        node.input[1] = name
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.ClearField("value_info")
    for output in graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].dim_param = BATCH
    remove_unused(graph)


def flatten_output(model: ModelProto) -> ModelProto:
    """Return the model with its output, of shape NK11, as NK under the same name."""
    graph = model.graph
    output = graph.output[0]
    name, inner = output.name, f"{output.name}_unflattened"
    for node in graph.node:
        for names in (node.input, node.output):
            for number, value in enumerate(names):
                if value == name:
                    names[number] = inner
    graph.node.append(helper.make_node("Flatten", [inner], [name], name=f"{inner}_node", axis=1))
    del output.type.tensor_type.shape.dim[2:]
    graph.ClearField("value_info")
    return model


def remove_unused(graph: GraphProto) -> None:
    """Drop the nodes and weights that the graph's output does not need."""
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(name for inner in _inner_nodes(node) for name in inner.input)
    if len(kept) != len(graph.node):
        _replace_nodes(graph, kept[::-1])
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    if len(used) != len(graph.initializer):
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
        graph.ClearField("initializer")
        graph.initializer.extend(copies)


def _inner_nodes(node: NodeProto) -> Iterable[NodeProto]:
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from all_nodes(inner)


def _replace_nodes(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
