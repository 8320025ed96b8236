"""int8 graphs in the scheme of their backend."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from stages import bank
from stages.onnxgraph import calibrate, int8
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import layers, with_names
from tests.stages.tiny import Brought


@pytest.fixture(scope="module")
def model(tiny: Brought) -> ModelProto:
    return with_names(onnx_io.read(tiny.path("export/onnx"), "here"))


@pytest.fixture(scope="module", params=["u8s8", "s8s8"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def measured(model: ModelProto, tiny: Brought, scheme: str) -> Any:
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    return calibrate.measure(model, x_NCHW, "minmax", int8.OPS[scheme])


def _made(model: ModelProto, measured: Any, scheme: str, **changes: Any) -> Any:
    options: dict[str, Any] = {"method": "minmax", "keep": (), "reduce_range": False} | changes
    return int8.quantize(model, scheme, measured, **options)


def _arrays(model: ModelProto, ending: str) -> list[np.ndarray]:
    held = [each for each in model.graph.initializer if each.name.endswith(ending)]
    return [numpy_helper.to_array(each) for each in held]


def test_zero_points_and_biases_are_those_of_the_scheme(
    model: ModelProto, measured: Any, scheme: str
) -> None:
    made = _made(model, measured, scheme).model
    onnx.checker.check_model(made, full_check=True)
    zeros = _arrays(made, "_zero_point")
    kinds = {each.data_type for each in made.graph.initializer}
    if scheme == "s8s8":
        assert {each.dtype for each in zeros} == {np.dtype(np.int8)}
        assert not any(each.any() for each in zeros)
        assert TensorProto.INT32 not in kinds
    else:
        assert np.dtype(np.uint8) in {each.dtype for each in zeros}
        assert TensorProto.INT32 in kinds


def test_weights_have_a_scale_for_each_channel(
    model: ModelProto, measured: Any, scheme: str
) -> None:
    made = _made(model, measured, scheme).model
    scales = {e.name: list(e.dims) for e in made.graph.initializer if "weight_scale" in e.name}
    assert scales["backbone.conv1.weight_scale"] == [16]


def test_the_metadata_stays_and_the_logits_are_no_bytes(
    model: ModelProto, measured: Any, scheme: str
) -> None:
    made = _made(model, measured, scheme).model
    assert list(made.metadata_props) == list(model.metadata_props)
    assert made.graph.node[-1].op_type in {"Gemm", "DequantizeLinear"}
    assert made.graph.output[0].name in layers_outputs(made)


def layers_outputs(model: ModelProto) -> set[str]:
    return {name for node in model.graph.node if node.op_type == "Gemm" for name in node.output}


def test_a_layer_that_is_kept_has_its_weights_in_float(
    model: ModelProto, measured: Any, scheme: str
) -> None:
    kept = layers(model)[0]
    made = _made(model, measured, scheme, keep={kept.name})
    assert [(each.node, each.why) for each in made.left] == [(kept.name, "asked for")]
    held = {each.name: each.data_type for each in made.model.graph.initializer}
    assert held[kept.input[1]] == TensorProto.FLOAT


def test_the_reduced_range_keeps_weights_to_seven_bits(
    model: ModelProto, measured: Any, scheme: str
) -> None:
    made = _made(model, measured, scheme, reduce_range=True).model
    quantized = _arrays(made, "weight_quantized")
    assert quantized
    assert max(int(np.abs(each.astype(int)).max()) for each in quantized) <= 64


def test_it_says_nearly_what_fp32_says(
    model: ModelProto, measured: Any, scheme: str, tiny: Brought
) -> None:
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    found, wanted = (
        onnx_io.logits(onnx_io.session(each.SerializeToString()), x_NCHW)
        for each in (_made(model, measured, scheme).model, model)
    )
    assert 0 < np.abs(found - wanted).mean() < 0.1 * np.abs(wanted).mean()
