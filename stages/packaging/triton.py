"""A model repository for Triton Inference Server: one folder, one version, one config."""

import json
from typing import NamedTuple

from pipeline.gates.build_records import EngineManifest, Signature

_ONNX_MAX_BATCH = 64
_TYPES = {
    "FLOAT": "TYPE_FP32",
    "FLOAT16": "TYPE_FP16",
    "BFLOAT16": "TYPE_BF16",
    "UINT8": "TYPE_UINT8",
}


class Served(NamedTuple):
    """How Triton serves a backend: lines of the config, and the name of the model's file."""

    lines: str
    file: str


SERVED = {
    "onnxruntime": Served('backend: "onnxruntime"', "model.onnx"),
    "openvino": Served('backend: "openvino"\ndefault_model_filename: "model.onnx"', "model.onnx"),
    "tensorrt": Served('platform: "tensorrt_plan"', "model.plan"),
}
"""Triton has no backend for engines of TensorRT-RTX."""


def served(manifest: EngineManifest) -> Served | None:
    """Return how Triton serves an engine, None where it does not.

    It gives its ONNX Runtime no provider that loads what one compiled elsewhere (EPContext).
    """
    return None if manifest.ep_context else SERVED.get(manifest.backend)


def config(name: str, manifest: EngineManifest, signature: Signature) -> str:
    """Return the config.pbtxt of a model."""
    setting = manifest.settings.get("max_batch")
    max_batch = setting if isinstance(setting, int) else _ONNX_MAX_BATCH
    kind = "KIND_GPU" if manifest.device.startswith("cuda") else "KIND_CPU"
    channels, height, width = signature.shape
    sizes = (height, width, channels) if signature.input_type == "UINT8" else signature.shape
    dims = ", ".join(map(str, sizes))
    return (
        f"name: {json.dumps(name)}\n"
        f"{SERVED[manifest.backend].lines}\n"
        f"max_batch_size: {max_batch}\n"
        "input [\n"
        f"  {{ name: {json.dumps(signature.input)}, data_type: {_TYPES[signature.input_type]}, "
        f"dims: [{dims}] }}\n"
        "]\n"
        "output [\n"
        f"  {{ name: {json.dumps(signature.output)}, data_type: {_TYPES[signature.output_type]}, "
        f'dims: [{signature.num_classes}], label_filename: "labels.txt" }}\n'
        "]\n"
        f"instance_group [ {{ kind: {kind} }} ]\n"
        "dynamic_batching { }\n"
    )
