"""Operators in torch give what ONNX Runtime gives."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models.programs.onnx_graph import TorchGraph
from models.programs.onnx_operators import OPERATORS
from models.programs.onnx_shape_operators import UnsupportedNode
from stages.engines.ort import OrtSession
from stages.onnxgraph.layers import with_names

pytestmark = pytest.mark.usefixtures("one_thread")
Case = tuple[str, dict[str, Any], list[Any]]
_RNG = np.random.default_rng(0)


def _weights(*shape: int) -> NDArray[np.float32]:
    return _RNG.normal(0, 0.5, shape).astype(np.float32)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


_POSITIVE = np.abs(_weights(3)) + 0.5
CASES: list[Case] = [
    ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}, [_weights(4, 3, 3, 3), _weights(4)]),
    ("Conv", {"pads": [0, 0, 1, 1], "dilations": [2, 2]}, [_weights(4, 3, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [_weights(4, 3, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_LOWER"}, [_weights(4, 3, 2, 2)]),
    ("Conv", {"group": 3, "pads": [1] * 4}, [_weights(3, 1, 3, 3), _weights(3)]),
    ("ConvTranspose", {"strides": [2, 2], "output_padding": [1, 1]}, [_weights(3, 2, 3, 3)]),
    ("MatMul", {}, [_weights(8, 5)]),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0]}, []),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, []),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4}, []),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}, []),
    ("GlobalAveragePool", {}, []),
    ("GlobalMaxPool", {}, []),
    ("BatchNormalization", {}, [_weights(3), _weights(3), _weights(3), _POSITIVE]),
    ("LayerNormalization", {"axis": -1}, [_weights(8), _weights(8)]),
    ("Clip", {}, [np.float32(0.2), np.float32(0.6)]),
    ("Clip", {}, [None, np.float32(0.6)]),
    ("PRelu", {}, [_weights(3, 1, 1)]),
    ("Gelu", {"approximate": "tanh"}, []),
    ("Flatten", {"axis": 2}, []),
    ("Reshape", {}, [_ints(0, -1, 4)]),
    ("Squeeze", {}, []),
    ("Unsqueeze", {}, [_ints(0, -1)]),
    ("ReduceMean", {"keepdims": 0}, [_ints(2, 3)]),
    ("ReduceMax", {}, [_ints(1)]),
    ("ReduceSum", {}, []),
    ("ReduceMin", {"noop_with_empty_axes": 1}, []),
    ("Pad", {}, [_ints(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0.5)]),
    ("Pad", {"mode": "reflect"}, [_ints(0, 0, 1, 2, 0, 0, 0, 1)]),
    ("Pad", {"mode": "edge"}, [_ints(1, 1), None, _ints(-1)]),
    ("Slice", {}, [_ints(1, -3), _ints(100, 6), _ints(2, 3)]),
    ("Slice", {}, [_ints(-1), _ints(-100), _ints(1), _ints(-2)]),
    ("Split", {"axis": 3}, [_ints(3, 5)]),
    ("Gather", {"axis": 1}, [_ints(2, 0, -1)]),
    ("Expand", {}, [_ints(2, 1, 1, 1)]),
    ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ("Transpose", {}, []),
    ("Softmax", {"axis": 1}, []),
    ("LogSoftmax", {}, []),
    ("LeakyRelu", {"alpha": 0.3}, []),
    ("Elu", {}, []),
    ("HardSigmoid", {}, []),
    ("Resize", {"mode": "linear"}, [None, np.array([1, 1, 2, 2], np.float32)]),
    (
        "Resize",
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        [None, None, _ints(1, 3, 16, 16)],
    ),
    *((name, {}, [_weights(3, 1, 1)]) for name in ("Add", "Sub", "Mul", "Max", "Min", "Div")),
    ("Pow", {}, [np.float32(2)]),
    *(
        (name, {}, [])
        for name in (
            "Abs", "Celu", "Cos", "Dropout", "Erf", "Exp", "HardSwish", "Identity", "Log", "Mish",
            "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sin", "Softplus", "Softsign", "Sqrt",
            "Tanh", "ThresholdedRelu",
        )
    ),
]  # fmt: skip
_MORE: list[Case] = [
    ("Sum", {}, [_weights(3, 1, 1), _weights(8)]),
    ("Mean", {}, [_weights(3, 1, 1), _weights(8)]),
    ("Mod", {"fmod": 1}, [np.float32(0.3)]),
    ("Round", {}, []),
    ("Floor", {}, []),
    ("Ceil", {}, []),
    ("Sign", {}, []),
    ("CastLike", {}, [_ints(1)]),
    *((name, {}, [np.float32(0.5)])
      for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    ("Einsum", {"equation": "bchw,ck->bkhw"}, [_weights(3, 4)]),
    ("InstanceNormalization", {}, [_weights(3), _weights(3)]),
    ("LRN", {"size": 3}, []),
    ("LpNormalization", {"axis": 1}, []),
    ("ReduceL1", {}, [_ints(1)]),
    ("ReduceL2", {"keepdims": 0}, [_ints(2, 3)]),
    ("ReduceLogSumExp", {}, [_ints(1)]),
    ("ReduceSumSquare", {}, [_ints(1)]),
    ("Size", {}, []),
    ("ArgMax", {"axis": 1}, []),
    ("ArgMin", {"axis": 3, "keepdims": 0}, []),
    ("CumSum", {}, [np.int64(2)]),
    ("DepthToSpace", {"blocksize": 2}, []),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, []),
    ("SpaceToDepth", {"blocksize": 2}, []),
    ("GatherElements", {"axis": 3}, [np.tile(_ints(1, -1), (1, 3, 8, 1))]),
    ("GatherND", {}, [np.array([[0, 1], [0, 2]])]),
    ("ScatterND", {}, [np.array([[0, 1, 2, 3]]), _weights(1)]),
    ("ScatterElements", {"axis": 3}, [np.tile(_ints(1, -1), (1, 3, 8, 1)), _weights(1, 3, 8, 2)]),
    ("Tile", {}, [_ints(1, 2, 1, 3)]),
    ("TopK", {"axis": 3}, [_ints(2)]),
    ("Trilu", {"upper": 0}, [np.int64(1)]),
    ("Resize", {}, [None, np.array([1, 1, 1.5, 0.7], np.float32)]),
    ("Resize", {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
     [None, None, _ints(1, 3, 5, 13)]),
    ("Resize", {"mode": "cubic"}, [None, None, _ints(1, 3, 5, 13)]),
]  # fmt: skip
"""Their results are made floats."""
_OF_OPSETS: list[tuple[int, Case]] = [
    (9, ("Upsample", {}, [np.array([1, 1, 2, 3], np.float32)])),
    (9, ("BatchNormalization", {}, [_weights(3), _weights(3), _weights(3), _POSITIVE])),
    (10, ("Resize", {"mode": "nearest"}, [np.array([1, 1, 2, 3], np.float32)])),
    (11, ("Softmax", {"axis": 2}, [])),
    (12, ("LogSoftmax", {}, [])),
    (18, ("GroupNormalization", {"num_groups": 2}, [_weights(2), _weights(2)])),
    (21, ("GroupNormalization", {"num_groups": 2}, [_weights(4), _weights(4)])),
    (23, ("RMSNormalization", {}, [_weights(8)])),
    (24, ("Swish", {"alpha": 1.5}, [])),
]
_OF_SHAPES = {
    "And",
    "Or",
    "Not",
    "NonZero",
    "OneHot",
    "Range",
    "Cast",
    "Concat",
    "ConstantOfShape",
    "Equal",
    "Gemm",
    "Shape",
    "Where",
}
"""What the other tests have."""


def _model(
    nodes: list[Any], stored: dict[str, Any], shape: list[int], opset: int = 20
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    return with_names(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    )


def _check(model: ModelProto, shape: list[int]) -> None:
    x = np.random.default_rng(1).random(shape, dtype=np.float32)
    session = OrtSession(model.SerializeToString(), is_optimised=False)
    ours = TorchGraph(model)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, session.infer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_operator_gives_what_onnx_runtime_gives(case: Case) -> None:
    op, attributes, stored = case
    names = [f"s{number}" if array is not None else "" for number, array in enumerate(stored)]
    arrays = {name: array for name, array in zip(names, stored, strict=True) if name}
    outputs = ["y", "other"] if op == "Split" else ["y"]
    node = helper.make_node(op, ["x", *names], outputs, **attributes)
    _check(_model([node], arrays, [1, 3, 8, 8]), [1, 3, 8, 8])


@pytest.mark.parametrize("case", _MORE, ids=lambda case: case[0])
def test_an_operator_of_other_types_gives_what_onnx_runtime_gives(case: Case) -> None:
    op, attributes, stored = case
    names = [f"s{number}" if array is not None else "" for number, array in enumerate(stored)]
    arrays = {name: array for name, array in zip(names, stored, strict=True) if name}
    channels = 4 if op in ("DepthToSpace", "GroupNormalization") else 3
    nodes = [
        helper.make_node(op, ["x", *names], ["r", "i"] if op == "TopK" else ["r"], **attributes),
        helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT),
    ]
    _check(_model(nodes, arrays, [1, channels, 8, 8]), [1, channels, 8, 8])


@pytest.mark.parametrize(("opset", "case"), _OF_OPSETS, ids=lambda value: str(value)[:24])
def test_an_operator_means_what_its_opset_says(opset: int, case: Case) -> None:
    op, attributes, stored = case
    arrays = {f"s{number}": array for number, array in enumerate(stored)}
    channels = 4 if op == "GroupNormalization" else 3
    node = helper.make_node(op, ["x", *arrays], ["y"], **attributes)
    _check(_model([node], arrays, [1, channels, 8, 8], opset), [1, channels, 8, 8])


def test_masks_and_ranges_are_those_of_onnx_runtime() -> None:
    nodes = [
        helper.make_node("Greater", ["x", "half"], ["high"]),
        helper.make_node("Less", ["x", "half"], ["low"]),
        helper.make_node("Or", ["high", "low"], ["any"]),
        helper.make_node("And", ["any", "high"], ["both"]),
        helper.make_node("Not", ["both"], ["mask"]),
        helper.make_node("NonZero", ["mask"], ["places"]),
        helper.make_node("Range", ["zero", "three", "one"], ["numbers"]),
        helper.make_node("OneHot", ["numbers", "three", "values"], ["hot"], axis=-1),
        helper.make_node("ReduceSum", ["places"], ["count"], keepdims=0),
        helper.make_node("Cast", ["count"], ["total"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["hot", "total"], ["y"]),
    ]
    stored = {
        "half": np.float32(0.5), "zero": np.int64(0), "one": np.int64(1), "three": np.int64(3),
        "values": np.array([0.5, 2.0], np.float32),
    }  # fmt: skip
    _check(_model(nodes, stored, [2, 3, 2, 2]), [2, 3, 2, 2])


def test_a_node_that_loses_the_gradient_is_named() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="first"),
        helper.make_node("Round", ["h"], ["r"], name="rounding"),
        helper.make_node("ArgMax", ["h"], ["a"], name="decision", axis=1),
        helper.make_node("Cast", ["a"], ["f"], name="to_float", to=TensorProto.FLOAT),
        helper.make_node("Add", ["r", "f"], ["y"], name="last"),
    ]
    graph = TorchGraph(_model(nodes, {}, [1, 3, 4, 4]))
    assert graph.without_gradient(torch.rand(1, 3, 4, 4)) == ["ArgMax (decision)"]


def test_what_goes_into_a_batch_norm_can_be_watched() -> None:
    stored = {name: _weights(3) for name in ("w", "b", "m")} | {"v": _POSITIVE}
    node = helper.make_node("BatchNormalization", ["x", *stored], ["y"])
    graph = TorchGraph(_model([node], stored, [2, 3, 4, 4]))
    (tap,) = graph.taps
    inputs: list[torch.Tensor] = []
    tap.register_forward_pre_hook(lambda _, values: inputs.append(values[0]))
    x = torch.rand(2, 3, 4, 4)
    graph(x)
    assert inputs[0] is x
    np.testing.assert_array_equal(tap.running_mean, stored["m"])
    np.testing.assert_array_equal(tap.running_var, stored["v"])


def test_shapes_that_a_graph_computes_stay_integers() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], end=1),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["shape", "rest"], ["sizes"], axis=0),
        helper.make_node("Reshape", ["x", "sizes"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["h"], transB=1, alpha=0.5, beta=2.0),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Equal", ["zeros", "zeros"], ["is_zero"]),
        helper.make_node("Unsqueeze", ["is_zero", "rest"], ["mask"]),
        helper.make_node("Where", ["mask", "h", "w0"], ["chosen"]),
        helper.make_node("Cast", ["chosen"], ["y"], to=TensorProto.FLOAT),
    ]
    stored = {"w": _weights(5, 12), "b": _weights(5), "w0": np.float32(0)}
    _check(_model(nodes, stored, [2, 3, 2, 2]), [2, 3, 2, 2])


def test_every_operator_of_the_table_is_compared() -> None:
    compared = {case[0] for case in (*CASES, *_MORE, *(case for _, case in _OF_OPSETS))}
    assert compared | _OF_SHAPES == set(OPERATORS)


@pytest.mark.parametrize(
    ("op", "attributes", "named"),
    [("Det", {}, "Det"), ("AveragePool", {"dilations": [2, 2]}, "dilated"),
     ("Resize", {"mode": "linear", "antialias": 1}, "antialias")],
)  # fmt: skip
def test_a_node_that_has_no_equivalent_is_named(
    op: str, attributes: dict[str, Any], named: str
) -> None:
    if op == "AveragePool":
        attributes = {"kernel_shape": [2, 2], **attributes}
    inputs = ["x", "", "s"] if op == "Resize" else ["x"]
    node = helper.make_node(op, inputs, ["y"], name="the_node", **attributes)
    model = _model([node], {"s": np.array([1, 1, 2, 2], np.float32)}, [1, 3, 8, 8])
    with pytest.raises(UnsupportedNode, match=f"the_node.*{named}|{named}.*the_node"):
        TorchGraph(model)(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("op", ["If", "Relu"])
def test_a_node_that_holds_a_graph_is_named(op: str) -> None:
    node = helper.make_node(op, ["x"], ["y"], name="the_node")
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "inner", [], [])
    node.attribute.append(helper.make_attribute("then_branch", inner))
    with pytest.raises(UnsupportedNode, match=rf"{op} \(the_node\)"):
        TorchGraph(_model([node], {}, [1, 3, 8, 8]))


TRAIN_STRIDED = """
import numpy as np, torch
from onnx import helper
from models.programs.onnx_graph import TorchGraph
from tests.models.programs.test_onnx_operators import _model, _weights

for channels in (2, 4, 7):
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2])
    graph = TorchGraph(_model([node], {"w": _weights(8, channels, 1, 1)}, [9, channels, 16, 16]))
    weight = graph.stored("w").clone().requires_grad_()
    x = torch.randn(9, channels, 16, 16).contiguous(memory_format=torch.channels_last)
    slope = torch.randn(9, 8, 8, 8)
    for _ in range(8):
        weight.grad = None
        graph(x, {"w": weight}).backward(slope)
    wanted = torch.einsum("bohw,bihw->oi", slope, x[:, :, ::2, ::2])
    torch.testing.assert_close(weight.grad[:, :, 0, 0], wanted, rtol=1e-3, atol=1e-3)
"""


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="oneDNN has these kernels for x86 alone"
)
@pytest.mark.parametrize(("isa", "threads"), [("AVX2", 1), ("DEFAULT", 2)])
def test_strided_pointwise_weights_have_their_gradients(isa: str, threads: int) -> None:
    """In a process of its own, since oneDNN's fault ends it."""
    limits = {"ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": str(threads)}
    run = subprocess.run(
        [sys.executable, "-c", TRAIN_STRIDED],
        cwd=Path(__file__).parents[3],
        env=os.environ | limits,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
