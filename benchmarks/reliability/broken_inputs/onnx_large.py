"""ONNX graphs that make too many values, never end, or call themselves."""

import random
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from benchmarks.reliability.broken_inputs.onnx_graphs import first_node, insert, store

_Nodes = list[NodeProto]
_SIZES = (2**10, 2**14, 2**20, 2**28, 2**31, 2**33, 2**40, 2**62)
_node = helper.make_node
_value = helper.make_tensor_value_info


def _summed(nodes: _Nodes, name: str = "k") -> _Nodes:
    """Return nodes that add the sum of all that `nodes` make to the images."""
    return [
        *nodes,
        _node("ReduceSum", [name], ["z"], keepdims=0),
        _node("Add", ["images", "z"], ["big"]),
    ]


def _range(model: ModelProto, size: int) -> _Nodes:
    ends = [store(model, f"s{n}", end, np.float32) for n, end in enumerate((0, size, 1))]
    return _summed([_node("Range", ends, ["k"])])


def _one_hot(model: ModelProto, size: int) -> _Nodes:
    values = store(model, "v", [0, 1], np.float32)
    inputs = [store(model, "i", [1]), store(model, "d", size), values]
    return _summed([_node("OneHot", inputs, ["k"])])


def _eye(model: ModelProto, size: int) -> _Nodes:
    shape = store(model, "s", [size, size])
    result = [_node("ConstantOfShape", [shape], ["k"]), _node("EyeLike", ["k"], ["e"])]
    return _summed(result, "e")


def _expand(model: ModelProto, size: int) -> _Nodes:
    inputs = [store(model, "one", 1.0, np.float32), store(model, "s", [size, size])]
    return _summed([_node("Expand", inputs, ["k"])])


def _resize(model: ModelProto, size: int) -> _Nodes:
    scales = store(model, "s", [1, 1, size, size], np.float32)
    return [_node("Resize", ["images", "", scales], ["big"], mode="nearest")]


def _pad(model: ModelProto, size: int) -> _Nodes:
    pads = store(model, "s", [0, 0, size, 0, 0, 0, 0, size])
    return [_node("Pad", ["images", pads], ["big"])]


def _transposed(model: ModelProto, size: int) -> _Nodes:
    weight = store(model, "w", np.ones((3, 3, 1, 1)), np.float32)
    return [_node("ConvTranspose", ["images", weight], ["big"], strides=[size, size])]


def _gather(model: ModelProto, size: int) -> _Nodes:
    rows = store(model, "s", np.zeros(min(size, 2**20)))
    return [
        _node("Gather", ["images", rows], ["g"], axis=2),
        _node("Gather", ["g", rows], ["big"], axis=3),
    ]


def _conv_pads(model: ModelProto, size: int) -> _Nodes:
    conv = first_node(model, "Conv")
    del conv.attribute[:]
    conv.attribute.append(helper.make_attribute("pads", [size] * 4))
    return [_node("Identity", ["images"], ["big"])]


_LARGE: Mapping[str, Callable[[ModelProto, int], _Nodes]] = {
    "Expand": _expand,
    "ConstantOfShape": lambda model, size: _summed(
        [_node("ConstantOfShape", [store(model, "s", [size, 16])], ["k"])]
    ),
    "Tile": lambda model, size: [
        _node("Tile", ["images", store(model, "s", [1, 1, size, size])], ["big"])
    ],
    "Pad": _pad,
    "Resize": _resize,
    "Range": _range,
    "OneHot": _one_hot,
    "ConvTranspose": _transposed,
    "Conv with pads": _conv_pads,
    "EyeLike": _eye,
    "RandomNormal": lambda _, size: _summed([_node("RandomNormal", [], ["k"], shape=[size, size])]),
    "DepthToSpace": lambda _, size: [_node("DepthToSpace", ["images"], ["big"], blocksize=size)],
    "Gather": _gather,
}


def large(rng: random.Random, model: ModelProto) -> str:
    """Let a node make far more values than memory holds, from images or from nothing."""
    size, kind = rng.choice(_SIZES), rng.choice(list(_LARGE))
    insert(model, _LARGE[kind](model, size), "big")
    return f"{kind} of {size}"


def _endless(model: ModelProto, count: str) -> _Nodes:
    body = helper.make_graph(
        [_node("Identity", ["c"], ["c_out"]), _node("Add", ["v", "v"], ["v_out"])],
        "body",
        [
            _value("i", TensorProto.INT64, []),
            _value("c", TensorProto.BOOL, []),
            _value("v", TensorProto.FLOAT, None),
        ],
        [_value("c_out", TensorProto.BOOL, []), _value("v_out", TensorProto.FLOAT, None)],
    )
    inputs = [count, store(model, "t", values=True, dtype=bool), "images"]
    return [_node("Loop", inputs, ["big"], body=body)]


def _branches(model: ModelProto, levels: int) -> _Nodes:
    store(model, "t", values=True, dtype=bool)
    inner = _graph_of(_node("Identity", ["images"], ["x0"]), "x0")
    for level in range(1, levels + 1):
        name = f"x{level}" if level < levels else "big"
        # The other branch is a short one, or the graph would double with each level.
        other = _graph_of(_node("Identity", ["images"], [f"y{level}"]), f"y{level}")
        branch = _node("If", ["t"], [name], then_branch=inner, else_branch=other)
        inner = _graph_of(branch, name)
    return [NodeProto.FromString(inner.node[0].SerializeToString())]


def _graph_of(node: NodeProto, output: str) -> GraphProto:
    return helper.make_graph([node], f"of_{output}", [], [_value(output, TensorProto.FLOAT, None)])


def _scan(inputs: int) -> _Nodes:
    body = helper.make_graph(
        [_node("Identity", ["a"], ["b"])],
        "s",
        [_value("a", TensorProto.FLOAT, None)],
        [_value("b", TensorProto.FLOAT, None)],
    )
    return [_node("Scan", ["images"], ["big"], body=body, num_scan_inputs=inputs)]


def _doubling() -> _Nodes:
    names = ["images", *(f"d{number}" for number in range(200))]
    result = [
        _node("Concat", [first, first], [second], axis=2) for first, second in pairwise(names)
    ]
    return [*result, _node("Identity", [names[-1]], ["big"])]


_INNER: Mapping[str, Callable[[ModelProto], _Nodes]] = {
    "a loop": lambda model: _endless(model, ""),
    "a loop of 2**62": lambda model: _endless(model, store(model, "m", 2**62)),
    "a loop of 3": lambda model: _endless(model, store(model, "m", 3)),
    "branches": lambda model: _branches(model, 2),
    "deep branches": lambda model: _branches(model, 22),
    "a scan": lambda _: _scan(1),
    "a scan of nothing": lambda _: _scan(0),
    "a scan of 2**40": lambda _: _scan(2**40),
    "doubled values": lambda _: _doubling(),
    "a function": lambda model: _functions(model, 1),
    "a function of itself": lambda model: _functions(model, 0),
    "doubling functions": lambda model: _functions(model, 30),
    "functions of each other": lambda model: _functions(model, -2),
}


def subgraph(rng: random.Random, model: ModelProto) -> str:
    """Put loops, branches, scans and functions into the graph, endless, deep or recursive."""
    kind = rng.choice(list(_INNER))
    insert(model, _INNER[kind](model), "big")
    return kind


def _functions(model: ModelProto, levels: int) -> _Nodes:
    """Add functions that call the next one twice; below 1 level the last calls the first."""
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    count = max(1, abs(levels))
    for level in range(count):
        is_last = level == count - 1
        called = ("F0" if levels < 1 else "Identity") if is_last else f"F{level + 1}"
        domain = "" if called == "Identity" else "own"
        nodes = [
            _node(called, ["x"], ["z"], domain=domain),
            _node(called, ["z"], ["y"], domain=domain),
        ]
        model.functions.append(
            helper.make_function("own", f"F{level}", ["x"], ["y"], nodes, opsets)
        )
    return [_node("F0", ["images"], ["big"], domain="own")]
