"""fp8 graphs: their form; TensorRT alone runs them."""

import onnx
from onnx import TensorProto

from stages import bank
from stages.onnxgraph import calibrate, fp8
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import layers, with_names
from tests.stages.tiny import Brought


def test_weights_and_activations_are_fp8_and_biases_float(tiny: Brought) -> None:
    model = with_names(onnx_io.read(tiny.path("export/onnx"), "here"))
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    measured = calibrate.measure(model, x_NCHW, "distribution", fp8.OPS)
    kept = layers(model)[-1].name
    made = fp8.quantize(model, measured, keep={kept})
    onnx.checker.check_model(made.model, full_check=True)
    kinds = [each.data_type for each in made.model.graph.initializer]
    assert TensorProto.FLOAT8E4M3FN in kinds
    assert TensorProto.INT32 not in kinds
    assert [each.node for each in made.left] == [kept]
    assert sum(node.op_type == "QuantizeLinear" for node in made.model.graph.node) >= 7
