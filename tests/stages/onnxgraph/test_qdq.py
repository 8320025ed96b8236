"""Ranges of activations, and int8 and fp8 graphs in the scheme of their backend."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.errors import Interrupted
from stages import image_bank
from stages.engines.ort import OrtSession
from stages.onnxgraph import calibrate, qdq
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import KEPT_BY_NAME, Converted, KeptFloat, layer_nodes, with_names
from tests.stages.onnxgraph.graphs import classifier, layers, random_images, weights
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def model(tiny: TinyRun) -> ModelProto:
    return with_names(onnx_io.read(tiny.path("export/onnx"), "here"))


@pytest.fixture(scope="module")
def bank_images(tiny: TinyRun) -> NDArray[np.float32]:
    return image_bank.load(tiny.path("distill/bank"), "here")


@pytest.fixture(scope="module", params=["u8s8", "s8s8"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ranges(model: ModelProto, bank_images: NDArray[np.float32], scheme: str) -> Any:
    return calibrate.activation_ranges(model, bank_images, "minmax", qdq.SCHEMES[scheme].ops)


def _int8(model: ModelProto, ranges: Any, scheme: str, **changes: Any) -> Converted:
    options: dict[str, Any] = {"keep": ()} | changes
    return qdq.quantize(model, qdq.SCHEMES[scheme], ranges, **options)


def _arrays(model: ModelProto, ending: str) -> list[np.ndarray]:
    tensors = [tensor for tensor in model.graph.initializer if tensor.name.endswith(ending)]
    return [numpy_helper.to_array(tensor) for tensor in tensors]


def test_zero_points_and_biases_are_those_of_the_scheme(
    model: ModelProto, ranges: Any, scheme: str
) -> None:
    int8 = _int8(model, ranges, scheme).model
    onnx.checker.check_model(int8, full_check=True)
    zero_points = _arrays(int8, "_zero_point")
    types = {tensor.data_type for tensor in int8.graph.initializer}
    if scheme == "s8s8":
        assert {array.dtype for array in zero_points} == {np.dtype(np.int8)}
        assert not any(array.any() for array in zero_points)
        assert TensorProto.INT32 not in types
    else:
        assert np.dtype(np.uint8) in {array.dtype for array in zero_points}
        assert TensorProto.INT32 in types


def test_weights_have_a_scale_for_each_channel(model: ModelProto, ranges: Any, scheme: str) -> None:
    int8 = _int8(model, ranges, scheme).model
    scales = {t.name: list(t.dims) for t in int8.graph.initializer if "weight_scale" in t.name}
    assert scales["backbone.conv1.weight_scale"] == [16]


def test_the_model_itself_and_its_metadata_stay_and_the_logits_are_no_bytes(
    model: ModelProto, ranges: Any, scheme: str
) -> None:
    before = model.SerializeToString(deterministic=True)
    int8 = _int8(model, ranges, scheme).model
    assert model.SerializeToString(deterministic=True) == before
    assert list(int8.metadata_props) == list(model.metadata_props)
    assert int8.producer_name == model.producer_name
    assert int8.graph.node[-1].op_type in {"Gemm", "DequantizeLinear"}
    outputs = {name for node in int8.graph.node if node.op_type == "Gemm" for name in node.output}
    assert int8.graph.output[0].name in outputs


def test_a_layer_that_is_kept_has_its_weights_in_float(
    model: ModelProto, ranges: Any, scheme: str
) -> None:
    layer = layer_nodes(model)[0]
    converted = _int8(model, ranges, scheme, keep={layer.name})
    assert converted.kept_float == (KeptFloat(layer.name, KEPT_BY_NAME),)
    types = {tensor.name: tensor.data_type for tensor in converted.model.graph.initializer}
    assert types[layer.input[1]] == TensorProto.FLOAT
    assert _int8(model, ranges, scheme).kept_float == ()


def test_the_reduced_range_keeps_weights_to_seven_bits(
    model: ModelProto, ranges: Any, scheme: str
) -> None:
    converted = _int8(model, ranges, scheme, reduce_range=True)
    weights = _arrays(converted.model, "weight_quantized")
    assert converted.reduced_layers == len(weights) > 0
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) <= 64
    assert _int8(model, ranges, scheme).reduced_layers == 0


def test_depthwise_weights_keep_eight_bits_where_others_have_seven() -> None:
    rng = np.random.default_rng(0)
    stored = weights() | {"w0": rng.normal(0, 0.3, (3, 1, 3, 3)).astype(np.float32)}
    depthwise = helper.make_node("Conv", ["images", "w0"], ["d"], name="depthwise", group=3)
    model = classifier([depthwise, *layers("d")], stored=stored)
    u8s8 = qdq.SCHEMES["u8s8"]
    ranges = calibrate.activation_ranges(model, random_images(), "minmax", u8s8.ops)
    converted = qdq.quantize(model, u8s8, ranges, keep=(), reduce_range=True)
    largest = {
        name: int(np.abs(_arrays(converted.model, f"{name}_quantized")[0].astype(int)).max())
        for name in ("w0", "w1", "w2")
    }
    assert largest == {"w0": 127, "w1": 64, "w2": 64}
    assert (converted.reduced_layers, converted.full_range_layers) == (2, 1)
    whole = qdq.quantize(model, u8s8, ranges, keep=())
    assert (whole.reduced_layers, whole.full_range_layers) == (0, 0)


def test_int8_gives_nearly_the_logits_of_fp32(
    model: ModelProto, ranges: Any, scheme: str, bank_images: NDArray[np.float32]
) -> None:
    int8_NK, fp32_NK = (
        OrtSession(graph.SerializeToString()).infer(bank_images)
        for graph in (_int8(model, ranges, scheme).model, model)
    )
    assert 0 < np.abs(int8_NK - fp32_NK).mean() < 0.1 * np.abs(fp32_NK).mean()


def test_weights_and_activations_are_fp8_and_biases_float(
    model: ModelProto, bank_images: NDArray[np.float32]
) -> None:
    fp8 = qdq.SCHEMES["fp8"]
    ranges = calibrate.activation_ranges(model, bank_images, "distribution", fp8.ops)
    layer = layer_nodes(model)[-1].name
    converted = qdq.quantize(model, fp8, ranges, keep={layer})
    onnx.checker.check_model(converted.model, full_check=True)
    types = [tensor.data_type for tensor in converted.model.graph.initializer]
    assert TensorProto.FLOAT8E4M3FN in types
    assert TensorProto.INT32 not in types
    assert [kept.node for kept in converted.kept_float] == [layer]
    ops = [node.op_type for node in converted.model.graph.node]
    assert ops.count("QuantizeLinear") >= 7


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_every_method_gives_ranges_within_minmax_and_prints_nothing(
    model: ModelProto,
    bank_images: NDArray[np.float32],
    method: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    widest = calibrate.activation_ranges(model, bank_images, "minmax", ("Conv",))
    ranges = calibrate.activation_ranges(model, bank_images, method, ("Conv",))
    assert set(ranges.keys()) == set(widest.keys()) != set()
    for name in ranges.keys():  # noqa: SIM118  (no mapping)
        low, high = (float(np.min(end)) for end in ranges[name].range_value)
        least, most = (float(np.min(end)) for end in widest[name].range_value)
        assert low < high
        assert max(abs(low), abs(high)) <= 1.01 * max(abs(least), abs(most))
    assert capfd.readouterr() == ("", "")


def test_minmax_is_the_least_and_the_most_of_all_batches(model: ModelProto) -> None:
    x_NCHW = np.zeros((70, 1, 8, 8), np.float32)
    x_NCHW[69] = 1.0
    ranges = calibrate.activation_ranges(model, x_NCHW, "minmax", ("Conv",))
    first = next(node for node in model.graph.node if node.op_type == "Conv").input[0]
    low, high = (float(np.min(end)) for end in ranges[first].range_value)
    card = onnx_io.card_of(model)
    assert card is not None
    mean, std = card.mean[0], card.std[0]
    assert low == pytest.approx((0 - mean) / std, abs=1e-4)
    assert high == pytest.approx((1 - mean) / std, abs=1e-4)


def test_few_large_images_are_calibrated_at_a_time_and_counted(model: ModelProto) -> None:
    assert [calibrate.batch_size(3 * size**2) for size in (8, 32, 64, 224, 1024)] == [
        32,
        32,
        32,
        2,
        1,
    ]
    done: list[int] = []
    x_NCHW = np.zeros((33, 1, 8, 8), np.float32)
    calibrate.activation_ranges(
        model, x_NCHW, "minmax", ("Conv",), on_progress=lambda count, *_: done.append(count)
    )
    assert done == [0, 32, 33]

    def stop(*_: Any) -> None:
        raise Interrupted("build", "interrupted", "go on")

    with pytest.raises(Interrupted):
        calibrate.activation_ranges(model, x_NCHW, "minmax", ("Conv",), on_progress=stop)
