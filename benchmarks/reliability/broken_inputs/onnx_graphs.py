"""A small sound ONNX graph, and graphs of it that are wired, shaped and stored wrongly."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.reliability.broken_inputs.onnx_fields import HUGE


def sound_model() -> ModelProto:
    """Return a small convolutional classifier of 3 x 16 x 16 images for 5 classes."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.standard_normal((4, 3, 3, 3)), "scale": np.ones(4), "shift": np.zeros(4),
        "mean": np.zeros(4), "var": np.ones(4), "matrix": rng.standard_normal((5, 4)),
        "bias": np.zeros(5),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], "norm"
        ),
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "matrix", "bias"], ["logits"], "head", transB=1),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 16, 16])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "net", [images], [logits], tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, producer_name="bench"
    )


def first_node(model: ModelProto, op_type: str) -> Any:
    """Return the first node of a type, or else the first of all."""
    return next((node for node in model.graph.node if node.op_type == op_type), model.graph.node[0])


def store(model: ModelProto, name: str, values: Any, dtype: Any = np.int64) -> str:
    """Store a tensor in a model and return its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def insert(model: ModelProto, nodes: Sequence[Any], result: str, ahead_of: str = "Conv") -> None:
    """Put nodes before those of a type, whose first input becomes `result`."""
    place = next(n for n, node in enumerate(model.graph.node) if node.op_type == ahead_of)
    model.graph.node[place].input[0] = result
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*kept[:place], *nodes, *kept[place:]])


def shape(rng: random.Random, model: ModelProto) -> str:
    """Change a dimension of the input, of the output or of a stored tensor."""
    graph = model.graph
    if rng.random() < 0.4:
        tensor = rng.choice(graph.initializer)
        number = rng.randrange(len(tensor.dims))
        tensor.dims[number] = rng.choice(HUGE)
        return f"{tensor.name} is {list(tensor.dims)}"
    value = rng.choice((graph.input[0], graph.input[0], graph.output[0]))
    dims = value.type.tensor_type.shape.dim
    dim = dims[rng.randrange(len(dims))]
    if rng.random() < 0.3:
        dim.dim_param = rng.choice(("n", "", "h", "-1", "n*2", "a" * 1000))
        return f"{value.name} has a dimension {dim.dim_param[:20]!r}"
    dim.dim_value = rng.choice((*HUGE, 10_000, 100_000))
    return f"{value.name} has a dimension {dim.dim_value}"


def stored(rng: random.Random, model: ModelProto) -> str:
    """Let a stored tensor's type, values or field lie."""
    tensor = rng.choice(model.graph.initializer)
    kind = rng.choice(
        ("type", "cut", "nan", "strings", "two fields", "no data", "segment", "typed")
    )
    match kind:
        case "type":
            tensor.data_type = rng.choice((*range(30), -1, 999))
            return f"{tensor.name} of type {tensor.data_type}"
        case "cut":
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
        case "nan":
            size = len(tensor.raw_data) // 4
            tensor.raw_data = np.full(size, rng.choice((np.nan, np.inf, 1e38)), "f4").tobytes()
        case "strings":
            tensor.ClearField("raw_data")
            tensor.data_type = TensorProto.STRING
            tensor.string_data.extend([b"\xff", b"x"])
        case "two fields":
            tensor.float_data.extend([1.0, 2.0])
        case "no data":
            tensor.ClearField("raw_data")
        case "segment":
            tensor.segment.begin, tensor.segment.end = 5, 2**40
        case _:
            tensor.ClearField("raw_data")
            tensor.int32_data.extend([1, 2, 3])
    return f"{tensor.name}: {kind}"


def wiring(  # noqa: C901, PLR0912  (a case for each kind)
    rng: random.Random, model: ModelProto
) -> str:
    """Let a graph loop, miss a value, or name one twice."""
    graph = model.graph
    node = rng.choice(graph.node)
    kind = rng.choice(
        ("itself", "cycle", "missing", "output twice", "initializer twice", "input missing",
         "output missing", "reversed", "no nodes", "name twice", "initializer left out",
         "input is output", "empty output", "weights as images", "two inputs", "many nodes")
    )  # fmt: skip
    match kind:
        case "itself":
            node.input[0] = node.output[0]
        case "cycle":
            graph.node[0].input[0] = graph.node[-1].output[0]
        case "missing":
            node.input[rng.randrange(len(node.input))] = "nothing"
        case "output twice":
            graph.node[1].output[0] = graph.node[0].output[0]
        case "initializer twice":
            graph.initializer.append(graph.initializer[0])
        case "input missing":
            del graph.input[:]
        case "output missing":
            del graph.output[:]
        case "reversed":
            nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node][::-1]
            del graph.node[:]
            graph.node.extend(nodes)
        case "no nodes":
            del graph.node[:]
        case "name twice":
            for member in graph.node:
                member.name = "same"
        case "initializer left out":
            del graph.initializer[rng.randrange(len(graph.initializer))]
        case "input is output":
            graph.output[0].name = graph.input[0].name
        case "empty output":
            node.output[0] = ""
        case "weights as images":
            graph.initializer[0].name = "images"
        case "two inputs":
            graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
        case _:
            names = ["images", *(f"v{n}" for n in range(20_000))]
            result = [helper.make_node("Identity", [a], [b]) for a, b in zip(names, names[1:])]  # noqa: RUF007, B905
            insert(model, result, names[-1])
    return f"wiring: {kind}"


def attribute(rng: random.Random, model: ModelProto) -> str:
    """Give a node an attribute that it cannot have."""
    node = rng.choice(model.graph.node)
    name = rng.choice(
        ("pads", "strides", "dilations", "group", "axis", "transB", "epsilon", "kernel_shape",
         "auto_pad", "training_mode", "alpha", "x")
    )  # fmt: skip
    value: Any = rng.choice(
        (0, -1, 2**31, 2**62, [0, 0], [2**40] * 4, [-1, -1, -1, -1], [-(2**62)] * 4, "x", 0.5,
         float("nan"), [1] * 1000, "SAME_UPPER")
    )  # fmt: skip
    kept = [onnx.AttributeProto.FromString(a.SerializeToString())
            for a in node.attribute if a.name != name]  # fmt: skip
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
    return f"{node.op_type}.{name} = {str(value)[:30]}"


def domain(rng: random.Random, model: ModelProto) -> str:
    """Change versions, domains and operators."""
    kind = rng.choice(("opset", "domain", "operator", "ir", "no opset", "opset twice", "overload"))
    node = rng.choice(model.graph.node)
    match kind:
        case "opset":
            model.opset_import[0].version = rng.choice((*HUGE, 6, 7, 9, 13, 22, 27, 99))
        case "domain":
            node.domain = rng.choice(("com.microsoft", "custom", "ai.onnx.ml", "a" * 1000, "\0"))
        case "operator":
            node.op_type = rng.choice(
                ("Nothing", "", "If", "Loop", "Softmax", "Mod", "StringConcat", "Optional",
                 "SequenceAt", "NonMaxSuppression", "Unique", "ImageDecoder", "RegexFullMatch",
                 "Einsum", "STFT", "Conv", "Reshape", "Dropout", "LSTM", "QLinearConv", "EPContext")
            )  # fmt: skip
        case "ir":
            model.ir_version = rng.choice((-1, 0, 1, 2, 3, 7, 14, 99, 2**62))
        case "no opset":
            del model.opset_import[:]
        case "overload":
            node.overload = "x"
        case _:
            model.opset_import.append(helper.make_opsetid("", rng.choice((7, 99, 18))))
    return f"{kind}: {model.opset_import[:1]} {node.domain[:20]}.{node.op_type}"[:60].replace(
        "\n", " "
    )
