"""Zeros ahead of max pooling stay zeros in ONNX Runtime."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx import numpy_helper as arrays

from stages.engines.ort import OrtSession
from stages.onnxgraph.padding import keep_zero_padding


def _model(value: float | None, before: str = "Neg") -> ModelProto:
    """Return max pooling of 3x3 on what is padded by one pixel, after an operator."""
    pad = ["a", "pads"] if value is None else ["a", "pads", "value"]
    nodes = [
        helper.make_node(before, ["x"], ["a"]),
        helper.make_node("Pad", pad, ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    weights = [arrays.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")]
    if value is not None:
        weights.append(arrays.from_array(np.array(value, np.float32), "value"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("value", [None, 0.0])
def test_the_largest_of_negative_values_and_zeros_is_zero(value: float | None) -> None:
    model = _model(value)
    assert keep_zero_padding(model) == 1
    x_BCHW = np.random.default_rng(0).random((2, 1, 4, 4), dtype=np.float32) + 1
    plain_BK = OrtSession(_model(value).SerializeToString(), is_optimised=False).infer(x_BCHW)
    logits_BK = OrtSession(model.SerializeToString()).infer(x_BCHW)
    np.testing.assert_allclose(logits_BK, plain_BK, atol=1e-7)


@pytest.mark.parametrize(("value", "before"), [(1.0, "Neg"), (0.0, "Relu")])
def test_other_padding_stays_as_it_is(value: float, before: str) -> None:
    model = _model(value, before)
    assert keep_zero_padding(model) == 0
    assert model == _model(value, before)
