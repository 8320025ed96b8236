"""What int8 and fp8 have in common: layers left alone, and nothing of ours lost."""

from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType

from stages import bank
from stages.onnxgraph import calibrate
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import layers, with_names
from stages.onnxgraph.qdq import quantized
from tests.stages.tiny import Brought

OPS = ("Conv", "Gemm")


def _quantizing(model: ModelProto) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_layers_to_keep_stay_in_float_and_are_told_and_the_model_itself_is_not_touched(
    tiny: Brought,
) -> None:
    model = with_names(onnx_io.read(tiny.path("export/onnx"), "here"))
    before = model.SerializeToString(deterministic=True)
    x_NCHW = bank.load(tiny.path("distill/bank"), "here")
    measured = calibrate.measure(model, x_NCHW, "minmax", OPS)
    kept = layers(model)[0]
    made = [
        quantized(
            model,
            measured,
            ops=OPS,
            keep=keep,
            extra={"QuantizeBias": False},
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        for keep in ((), (kept.name,))
    ]
    assert made[0].left == ()
    assert [(each.node, each.why) for each in made[1].left] == [(kept.name, "asked for")]
    assert _quantizing(made[1].model) < _quantizing(made[0].model)
    for each in made:
        assert list(each.model.metadata_props) == list(model.metadata_props)
        assert each.model.producer_name == model.producer_name
    assert model.SerializeToString(deterministic=True) == before
