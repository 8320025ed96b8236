"""fp16 and bf16 in the graph."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from stages import bank
from stages.onnxgraph import half
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import layers
from tests.stages.tiny import Brought


@pytest.fixture(scope="module")
def model(tiny: Brought) -> ModelProto:
    return onnx_io.read(tiny.path("export/onnx"), "here")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_layers_have_half_weights_and_the_ends_are_fp32(model: ModelProto, precision: str) -> None:
    made = half.convert(model, precision, keep=())
    onnx.checker.check_model(made.model, full_check=True)
    kinds = {each.name: each.data_type for each in made.model.graph.initializer}
    weights = {kinds[node.input[1]] for node in layers(made.model)}
    assert weights == {half.TYPES[precision]}
    ends = (*made.model.graph.input, *made.model.graph.output)
    assert {each.type.tensor_type.elem_type for each in ends} == {TensorProto.FLOAT}
    assert [(each.op, each.why) for each in made.left] == [
        ("Sub", "preprocessing"),
        ("Div", "preprocessing"),
    ]


def test_fp16_says_nearly_what_fp32_says(model: ModelProto, tiny: Brought) -> None:
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    made = half.convert(model, "fp16", keep=()).model
    found, wanted = (
        onnx_io.logits(onnx_io.session(each.SerializeToString()), x_NCHW) for each in (made, model)
    )
    difference = np.abs(found - wanted).max()
    assert 0 < difference < 0.01 * np.abs(wanted).max()


def test_half_the_precision_is_half_the_size(model: ModelProto) -> None:
    sizes = [each.ByteSize() for each in (half.convert(model, "fp16", keep=()).model, model)]
    assert 0.45 < sizes[0] / sizes[1] < 0.55


def test_a_layer_that_is_kept_has_fp32_weights_between_casts(model: ModelProto) -> None:
    kept = layers(model)[4].name
    made = half.convert(model, "fp16", keep={kept})
    onnx.checker.check_model(made.model, full_check=True)
    kinds = {each.name: each.data_type for each in made.model.graph.initializer}
    by_name = {node.name: node for node in made.model.graph.node}
    assert kinds[by_name[kept].input[1]] == TensorProto.FLOAT
    assert (kept, "Conv", "asked for") in made.left


def test_weights_beyond_fp16_stay_in_fp32_and_bf16_takes_them(model: ModelProto) -> None:
    loud = ModelProto()
    loud.CopyFrom(model)
    last = layers(loud)[-1]
    for each in loud.graph.initializer:
        if each.name == last.input[1]:
            each.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(each) + np.float32(1e5), each.name)
            )
    why = {each.node: each.why for each in half.convert(loud, "fp16", keep=()).left}
    assert why[last.name] == "weights beyond the range of fp16"
    assert last.name not in {each.node for each in half.convert(loud, "bf16", keep=()).left}


def test_an_operator_not_known_to_be_safe_stays_in_fp32(model: ModelProto) -> None:
    odd = ModelProto()
    odd.CopyFrom(model)
    odd.graph.node[-1].output[0] = "inner"
    odd.graph.node.append(helper.make_node("Exp", ["inner"], ["logits"], name="exp"))
    made = half.convert(odd, "fp16", keep=())
    onnx.checker.check_model(made.model, full_check=True)
    assert ("exp", "Exp", "operator not known to be safe") in made.left


def test_an_older_opset_is_raised_for_bf16(model: ModelProto) -> None:
    old = onnx.version_converter.convert_version(model, 21)
    made = half.convert(old, "bf16", keep=()).model
    assert made.opset_import[0].version == 22
    onnx.checker.check_model(made, full_check=True)
