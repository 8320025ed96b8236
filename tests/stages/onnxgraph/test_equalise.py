"""Channels brought to one range before rounding: the function stays, and rounding costs less."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pipeline.settings import Build
from stages.engines.base import BACKENDS
from stages.engines.ort import OrtSession
from stages.onnxgraph.convert import PrecisionConverter
from stages.onnxgraph.equalise import equalise
from tests.stages.onnxgraph import graphs

NODES = [
    helper.make_node("Conv", ["images", "w1", "b1"], ["c"], name="conv", pads=[1] * 4),
    helper.make_node("Relu", ["c"], ["r"], name="relu"),
    helper.make_node("Conv", ["r", "wd", "bd"], ["d"], name="depthwise", group=4),
    helper.make_node("LeakyRelu", ["d"], ["l"], name="leaky"),
    helper.make_node("MaxPool", ["l"], ["m"], name="max", kernel_shape=[2, 2]),
    helper.make_node("Conv", ["m", "wg"], ["g"], name="grouped", group=2),
    helper.make_node("Relu", ["g"], ["s"], name="relu2"),
    helper.make_node("GlobalAveragePool", ["s"], ["p"], name="pool"),
    helper.make_node("Flatten", ["p"], ["f"], name="flat", axis=1),
    helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], name="fc", transB=1),
]


def _stored(factor: float = 50.0) -> dict[str, Any]:
    """Return weights whose channels differ by up to a factor, in pairs that undo one another."""
    rng = np.random.default_rng(3)
    kinds = ((4, 3, 3, 3), (4,), (4, 1, 3, 3), (4,), (4, 2, 1, 1), (graphs.CLASSES, 4))
    names = ("w1", "b1", "wd", "bd", "wg", "w2")
    stored = {
        name: (rng.choice([-1, 1], shape) * rng.uniform(0.3, 0.5, shape)).astype(np.float32)
        for name, shape in zip(names, kinds, strict=True)
    }
    stored["b2"] = graphs.weights()["b2"]
    by_C = factor ** np.linspace(-0.5, 0.5, 4, dtype=np.float32)
    stored["w1"] *= by_C.reshape(4, 1, 1, 1)
    stored["b1"] *= by_C
    stored["wd"] /= by_C.reshape(4, 1, 1, 1)
    return stored


def _model(nodes: list[NodeProto] | None = None, **changes: Any) -> ModelProto:
    return graphs.classifier(nodes or NODES, stored=_stored() | changes)


def _logits(model: ModelProto) -> np.ndarray:
    return OrtSession(model.SerializeToString(), is_optimised=False).infer(graphs.random_images(64))


def _ranges(model: ModelProto, name: str) -> np.ndarray:
    (tensor,) = (entry for entry in model.graph.initializer if entry.name == name)
    array = numpy_helper.to_array(tensor)
    largest: np.ndarray = np.abs(array).reshape(len(array), -1).max(axis=1)
    return largest


def test_the_function_stays_and_both_layers_of_a_pair_get_one_range() -> None:
    model = _model()
    before = model.SerializeToString(deterministic=True)
    equalised, pairs = equalise(model)
    assert pairs == 2  # a depthwise layer is in two
    assert model.SerializeToString(deterministic=True) == before
    np.testing.assert_allclose(_logits(equalised), _logits(model), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(_ranges(equalised, "w1"), _ranges(equalised, "wd"), rtol=1e-3)


def test_chains_through_groups_pooling_and_a_linear_layer_are_equalised_as_well() -> None:
    stored = _stored()
    by_C = np.array([0.02, 1, 1, 30], np.float32)
    stored["wd"] *= by_C.reshape(4, 1, 1, 1)
    stored["bd"] *= by_C
    stored["wg"] /= by_C.reshape(2, 1, 2, 1).repeat(2, axis=1).reshape(4, 2, 1, 1)
    stored["wg"] *= by_C.reshape(4, 1, 1, 1)
    stored["w2"] /= by_C
    stored["w1"][2] = 0  # a dead channel
    model = graphs.classifier(NODES, stored=stored)
    equalised, pairs = equalise(model)
    assert pairs == 2
    np.testing.assert_allclose(_logits(equalised), _logits(model), rtol=1e-3, atol=1e-5)
    spread = [np.ptp(np.log(_ranges(graph, "wg"))) for graph in (model, equalised)]
    assert spread[1] < spread[0] / 2


def test_layers_with_ranges_alike_are_left_to_the_bit() -> None:
    model = graphs.classifier(NODES, stored=_stored(factor=1.0))
    equalised, pairs = equalise(model)
    assert (equalised, pairs) == (model, 0)


def _in_a_branch() -> list[NodeProto]:
    """Return nodes of which one takes a convolution's result in a graph of its own."""
    same = helper.make_node("Identity", ["r"], ["inner"], name="same")
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([same], "branch", [], [result])
    both = {"then_branch": branch, "else_branch": branch}
    return [*NODES, helper.make_node("If", ["yes"], ["unused"], name="if", **both)]


def _replaced(number: int, node: NodeProto, *more: NodeProto) -> list[NodeProto]:
    return [*NODES[:number], node, *more, *NODES[number + 1 :]]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(
            _replaced(1, helper.make_node("Sigmoid", ["c"], ["r"], name="s")), id="not homogeneous"
        ),
        pytest.param(
            _replaced(
                2,
                helper.make_node("Add", ["r", "c"], ["a"], name="add"),
                helper.make_node("Conv", ["a", "wd"], ["d"], name="depthwise", group=4),
            ),
            id="two takers",
        ),
        pytest.param(
            _replaced(
                2,
                helper.make_node("Conv", ["r", "wd"], ["e"], name="once", group=4, pads=[1] * 4),
                helper.make_node("Conv", ["e", "wd"], ["d"], name="twice", group=4),
            ),
            id="weights that two layers share",
        ),
        pytest.param(_in_a_branch(), id="a taker in a branch"),
    ],
)
def test_other_layers_are_no_pairs(nodes: list[NodeProto]) -> None:
    model = _model(nodes)
    equalised, _ = equalise(model)
    np.testing.assert_array_equal(_ranges(equalised, "w1"), _ranges(model, "w1"))


def test_flattened_maps_of_several_pixels_are_no_pair() -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c"], name="conv"),
        helper.make_node("Flatten", ["c"], ["f"], name="flat", axis=1),
        helper.make_node("Gemm", ["f", "wide", "b2"], ["logits"], name="fc"),
    ]
    model = _model(nodes, wide=np.ones((4 * 6 * 6, graphs.CLASSES), np.float32))
    assert equalise(model) == (model, 0)


def test_rounding_costs_less_and_what_was_done_is_recorded() -> None:
    model, differences = _model(), []
    for is_equalised in (False, True):
        options = Build(equalise=is_equalised)
        converter = PrecisionConverter(model, graphs.random_images(64), options)
        converted = converter.convert("int8", BACKENDS["openvino"])
        assert converted.equalised_pairs == 2 * is_equalised
        differences.append(np.abs(_logits(converted.model) - _logits(model)).max())
        other = converter.convert("int4", BACKENDS["openvino"])
        assert other.equalised_pairs == converted.equalised_pairs
        assert converter.convert("fp32", BACKENDS["openvino"]).equalised_pairs == 0
    assert differences[1] < differences[0]
