"""Triton's configuration, read with Triton's own definitions."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from pipeline.gates.build_records import EngineManifest, Signature
from stages.packaging import triton

SIGNATURE = Signature(
    input="images",
    input_type="FLOAT",
    shape=(3, 32, 24),
    output="logits",
    output_type="FLOAT",
    num_classes=10,
)


def definitions() -> Any:
    """Return Triton's message definitions, without the client around them."""
    client = importlib.util.find_spec("tritonclient")
    assert client is not None
    (folder,) = client.submodule_search_locations or []
    spec = importlib.util.spec_from_file_location(
        "model_config_pb2", Path(folder, "grpc", "model_config_pb2.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _manifest(**changes: Any) -> EngineManifest:
    values = {
        "backend": "onnxruntime",
        "backend_version": "1",
        "device": "cpu",
        "precision": "fp32",
        "engine": "engine.onnx",
        "sha256": "0",
        "onnx_sha256": "1",
    }
    return EngineManifest(**values | changes)


def _parsed(manifest: EngineManifest, signature: Signature = SIGNATURE, name: str = "m") -> Any:
    text = triton.config(name, manifest, signature)
    return text_format.Parse(text, definitions().ModelConfig())


def test_triton_reads_what_the_engine_takes_and_gives() -> None:
    config = _parsed(_manifest())
    types = definitions().DataType
    assert (config.name, config.backend, config.max_batch_size) == ("m", "onnxruntime", 64)
    (images,), (logits,) = config.input, config.output
    assert (images.name, list(images.dims)) == ("images", [3, 32, 24])
    assert images.data_type == types.Value("TYPE_FP32")
    assert (logits.name, list(logits.dims)) == ("logits", [10])
    assert logits.label_filename == "labels.txt"
    assert config.HasField("dynamic_batching")
    assert config.instance_group[0].kind == config.instance_group[0].KIND_CPU


def test_a_plan_is_served_on_the_gpu_with_the_batch_of_its_profile() -> None:
    config = _parsed(_manifest(backend="tensorrt", device="cuda", settings={"max_batch": 128}))
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 128)
    assert config.instance_group[0].kind == config.instance_group[0].KIND_GPU


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "UINT8"])
def test_every_type_of_image_has_a_name_in_triton(kind: str) -> None:
    from msgspec.structs import replace

    config = _parsed(_manifest(), replace(SIGNATURE, input_type=kind))
    assert config.input[0].data_type != definitions().DataType.Value("TYPE_INVALID")


def test_names_with_quotes_arrive_as_they_are() -> None:
    from msgspec.structs import replace

    config = _parsed(_manifest(), replace(SIGNATURE, input='a "b" \\ c'))
    assert config.input[0].name == 'a "b" \\ c'


def test_images_as_bytes_have_their_channels_last() -> None:
    from msgspec.structs import replace

    config = _parsed(_manifest(), replace(SIGNATURE, input_type="UINT8"))
    assert list(config.input[0].dims) == [32, 24, 3]


def test_the_config_names_openvinos_file() -> None:
    config = _parsed(_manifest(backend="openvino"))
    assert config.backend == "openvino"
    assert config.default_model_filename == triton.SERVED["openvino"].file == "model.onnx"
