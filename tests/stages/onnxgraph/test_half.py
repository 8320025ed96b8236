"""fp16 and bf16 in the graph."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from stages import image_bank
from stages.engines.ort import OrtSession
from stages.onnxgraph import half
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import KEPT_BY_NAME, PREPROCESSING, KeptFloat, layer_nodes
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def model(tiny: TinyRun) -> ModelProto:
    return onnx_io.read(tiny.path("export/onnx"), "here")


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_layers_have_half_weights_and_the_ends_are_fp32(model: ModelProto, precision: str) -> None:
    converted = half.convert(model, precision, keep=())
    onnx.checker.check_model(converted.model, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in converted.model.graph.initializer}
    weights = {kinds[node.input[1]] for node in layer_nodes(converted.model)}
    assert weights == {half.TYPES[precision]}
    ends = (*converted.model.graph.input, *converted.model.graph.output)
    assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}
    ops = {node.name: node.op_type for node in model.graph.node}
    assert [(ops[kept.node], kept.reason) for kept in converted.kept_float] == [
        ("Sub", PREPROCESSING),
        ("Div", PREPROCESSING),
    ]


def test_fp16_gives_nearly_the_logits_of_fp32(model: ModelProto, tiny: TinyRun) -> None:
    x_NCHW = image_bank.load(tiny.path("distill/bank"), "here")
    converted = half.convert(model, "fp16", keep=()).model
    fp16_NK, fp32_NK = (
        OrtSession(graph.SerializeToString()).infer(x_NCHW) for graph in (converted, model)
    )
    difference = np.abs(fp16_NK - fp32_NK).max()
    assert 0 < difference < 0.01 * np.abs(fp32_NK).max()


def test_half_the_precision_is_half_the_size(model: ModelProto) -> None:
    sizes = [graph.ByteSize() for graph in (half.convert(model, "fp16", keep=()).model, model)]
    assert 0.45 < sizes[0] / sizes[1] < 0.55


def test_a_layer_that_is_kept_has_fp32_weights_between_casts(model: ModelProto) -> None:
    kept = layer_nodes(model)[4].name
    converted = half.convert(model, "fp16", keep={kept})
    onnx.checker.check_model(converted.model, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in converted.model.graph.initializer}
    by_name = {node.name: node for node in converted.model.graph.node}
    assert kinds[by_name[kept].input[1]] == TensorProto.FLOAT
    assert KeptFloat(kept, KEPT_BY_NAME) in converted.kept_float


def test_weights_beyond_fp16_stay_in_fp32_and_bf16_takes_them(model: ModelProto) -> None:
    loud = ModelProto()
    loud.CopyFrom(model)
    last = layer_nodes(loud)[-1]
    (weight,) = (tensor for tensor in loud.graph.initializer if tensor.name == last.input[1])
    array = numpy_helper.to_array(weight) + np.float32(1e5)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    reasons = dict(half.convert(loud, "fp16", keep=()).kept_float)
    assert reasons[last.name] == "weights beyond the range of fp16"
    assert last.name not in dict(half.convert(loud, "bf16", keep=()).kept_float)


def test_an_operator_not_known_to_be_safe_stays_in_fp32(model: ModelProto) -> None:
    odd = ModelProto()
    odd.CopyFrom(model)
    odd.graph.node[-1].output[0] = "inner"
    odd.graph.node.append(helper.make_node("Exp", ["inner"], ["logits"], name="exp"))
    converted = half.convert(odd, "fp16", keep=())
    onnx.checker.check_model(converted.model, full_check=True)
    assert KeptFloat("exp", "operator not known to be safe") in converted.kept_float


def test_an_older_opset_is_raised_for_bf16(model: ModelProto) -> None:
    old = onnx.version_converter.convert_version(model, 21)
    raised = half.convert(old, "bf16", keep=()).model
    assert raised.opset_import[0].version == 22
    onnx.checker.check_model(raised, full_check=True)
