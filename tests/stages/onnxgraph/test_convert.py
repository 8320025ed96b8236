"""A model at a precision, as a backend takes it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from pipeline import machine
from pipeline.errors import StageError
from pipeline.settings import Build
from stages import image_bank
from stages.engines.base import BACKENDS, PRECISION_KEY
from stages.onnxgraph import convert
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph.layers import KEPT_BY_NAME, layer_nodes
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def model(tiny: TinyRun) -> ModelProto:
    return onnx_io.read(tiny.path("export/onnx"), "here")


@pytest.fixture(scope="module")
def images(tiny: TinyRun) -> NDArray[np.float32]:
    return image_bank.load(tiny.path("distill/bank"), "here")


@pytest.mark.parametrize(
    ("backend", "precision"),
    [(name, precision) for name, info in BACKENDS.items() for precision in info.precisions],
)
def test_every_precision_of_every_backend_can_be_made_and_is_named_in_the_file(
    model: ModelProto, images: NDArray[np.float32], backend: str, precision: str
) -> None:
    converter = convert.PrecisionConverter(model, images, Build(float_layers=("first",)))
    converted = converter.convert(precision, BACKENDS[backend])
    properties = {entry.key: entry.value for entry in converted.model.metadata_props}
    assert properties[PRECISION_KEY] == precision
    assert onnx_io.card_of(converted.model) == onnx_io.card_of(model)
    kept = [entry.node for entry in converted.kept_float if entry.reason == KEPT_BY_NAME]
    is_in_graph = precision in convert.ROUNDED or (
        precision in ("fp16", "bf16") and BACKENDS[backend].is_half_in_graph
    )
    assert kept == ([layer_nodes(converter.model)[0].name] if is_in_graph else [])


def test_without_images_int8_is_refused_with_the_fix(model: ModelProto) -> None:
    with pytest.raises(StageError, match=r"int8 and fp8 need images .*give --calibration"):
        convert.PrecisionConverter(model, None, Build()).convert("int8", BACKENDS["onnxruntime"])


def test_the_same_images_give_the_same_bytes(
    model: ModelProto, images: NDArray[np.float32]
) -> None:
    one, other = (
        convert.PrecisionConverter(model, images, Build())
        .convert("int8", BACKENDS["onnxruntime"])
        .model.SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize(
    ("machine_name", "features", "expected"),
    [
        ("x86_64", {"avx2"}, True),
        ("x86_64", {"avx2", "avx512_vnni"}, False),
        ("AMD64", {"avx_vnni"}, False),
        ("aarch64", set(), False),
    ],
)
def test_only_x86_without_vnni_saturates(
    monkeypatch: pytest.MonkeyPatch,
    machine_name: str,
    features: set[str],
    expected: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    monkeypatch.setattr(machine, "cpu_features", lambda: frozenset(features))
    assert convert.int8_products_saturate() is expected


RTX = machine.has_module("tensorrt_rtx")


@pytest.mark.skipif(not RTX, reason="tensorrt-rtx is absent")
@pytest.mark.parametrize("precision", BACKENDS["tensorrt-rtx"].precisions)
def test_nvidias_parser_and_builder_take_every_precision(
    model: ModelProto, images: NDArray[np.float32], precision: str
) -> None:
    import tensorrt_rtx as trt

    converter = convert.PrecisionConverter(model, images, Build())
    converted = converter.convert(precision, BACKENDS["tensorrt-rtx"]).model
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(converted.SerializeToString()), [
        parser.get_error(number).desc() for number in range(parser.num_errors)
    ]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape(onnx_io.INPUT, (1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    assert plan.nbytes > 0
