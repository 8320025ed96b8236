"""Weights of 4 bits: which layers have them, at what scale, and that the graph runs."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.errors import StageError
from pipeline.settings import Build
from stages.engines.base import BACKENDS
from stages.engines.ort import OrtSession
from stages.onnxgraph.convert import PrecisionConverter
from stages.onnxgraph.four_bits import best_scale
from stages.onnxgraph.layers import KeptFloat
from tests.stages.onnxgraph import graphs


def _stored() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    shapes = {"wd": (4, 1, 3, 3), "wt": (4, 4, 2, 2), "w3": (4, 4, 1, 1), "wm": (4, 4)}
    return graphs.weights() | {
        name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()
    }


def _model() -> ModelProto:
    """Return a network with a layer of each kind; one weight is used twice."""
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c"], name="stem", strides=[2, 2]),
        helper.make_node("Conv", ["c", "wd"], ["d"], name="depthwise", group=4, pads=[1] * 4),
        helper.make_node("ConvTranspose", ["d", "wt"], ["t"], name="up"),
        helper.make_node("Conv", ["t", "w3"], ["u"], name="once"),
        helper.make_node("Conv", ["u", "w3"], ["v"], name="twice"),
        helper.make_node("GlobalAveragePool", ["v"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat", axis=1),
        helper.make_node("MatMul", ["f", "wm"], ["m"], name="matmul"),
        helper.make_node("Gemm", ["m", "w2", "b2"], ["logits"], name="fc", transB=1),
    ]
    return graphs.classifier(nodes, stored=_stored())


def _int4(model: ModelProto, backend: str, **options: Any) -> tuple[ModelProto, Any]:
    converted = PrecisionConverter(model, None, Build(**options)).convert("int4", BACKENDS[backend])
    onnx.checker.check_model(converted.model, full_check=True)
    return converted.model, converted.kept_float


def _dequantizers(model: ModelProto) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Return the axis, the integers and the scales of all weights of 4 bits, by their names."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            integers, scale = (stored[name] for name in node.input)
            assert integers.data_type == TensorProto.INT4
            arrays = numpy_helper.to_array(integers).astype(int), numpy_helper.to_array(scale)
            weights[node.input[0].removesuffix("_quantized")] = (node.attribute[0].i, *arrays)
    return weights


@pytest.mark.parametrize(("backend", "kind"), [("openvino", np.float32), ("tensorrt", np.float16)])
def test_all_but_the_first_and_depthwise_layers_have_integers_for_each_channel(
    backend: str, kind: type
) -> None:
    model, kept = _int4(_model(), backend, float_layers=("last",))
    assert KeptFloat("fc", "named to stay in float") in kept
    weights = _dequantizers(model)
    assert {name: axis for name, (axis, _, _) in weights.items()} == {"wt": 1, "w3": 0, "wm": 1}
    for _, integers, scale in weights.values():
        assert np.abs(integers).max() == 7
        assert scale.dtype == kind
        assert scale.shape == (4,)
    names = {tensor.name.removesuffix("_half") for tensor in model.graph.initializer}
    assert names >= {"w1", "wd"}
    assert names.isdisjoint({"wt", "w3", "wm"})


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_the_graph_computes_with_the_rounded_weights(backend: str) -> None:
    model, _ = _int4(_model(), backend)
    stored = _stored()
    for name, (axis, integers, scale) in _dequantizers(model).items():
        sizes = [-1 if dim == axis else 1 for dim in range(integers.ndim)]
        stored[name] = (integers * scale.astype(np.float32).reshape(sizes)).astype(np.float32)
    expected = graphs.classifier(list(_model().graph.node), stored=stored)
    logits_NK, expected_NK = (
        OrtSession(graph.SerializeToString(), is_optimised=False).infer(graphs.random_images())
        for graph in (model, expected)
    )
    np.testing.assert_allclose(logits_NK, expected_NK, atol=0.02 if backend == "tensorrt" else 1e-5)


def test_the_scale_cuts_off_the_largest_where_that_rounds_the_others_better() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (3, 400)).astype(np.float32)
    rows[1, 0] = 9.0
    rows[2] = 0.0
    scale = best_scale(rows)
    assert (scale[:2] < np.abs(rows).max(axis=1)[:2] / 7).all()
    assert scale[2] > 0

    def error(at: np.ndarray) -> np.ndarray:
        rounded = np.clip(np.round(rows / at[:, None]), -7, 7) * at[:, None]
        errors: np.ndarray = ((rounded - rows) ** 2).sum(axis=1)
        return errors

    largest = np.maximum(np.abs(rows).max(axis=1) / 7, scale[2])
    assert (error(scale)[:2] < error(largest)[:2]).all()


def test_a_network_of_which_nothing_can_be_rounded_is_refused() -> None:
    with pytest.raises(StageError, match=r"int4 leaves this network as it is.*another precision"):
        _int4(graphs.classifier(), "openvino", float_layers=("last",))
