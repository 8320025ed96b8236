"""The model card says what is known and does not claim what is not."""

from typing import Any

import msgspec

from pipeline.gates.build_records import EngineManifest, Signature
from stages.packaging import modelcard

SIGNATURE = Signature(
    input="images", input_type="FLOAT", shape=(1, 8, 8), output="logits", output_type="FLOAT",
    num_classes=10, arch="resnet8",
)  # fmt: skip
MANIFEST = EngineManifest(
    backend="onnxruntime", backend_version="1.31", device="cpu", precision="fp32",
    engine="engine.onnx", sha256="a" * 64, onnx_sha256="b" * 64,
)  # fmt: skip


def _report() -> dict[str, Any]:
    return {
        "accuracy": {"teacher": {"top1": 0.99, "n": 540}},
        "latency": {
            "batches": [
                {
                    "batch": 1,
                    "teacher": {"p50_ms": 1.5},
                    "engine": {"p50_ms": 0.25},
                    "speedup": {"median": 6.0},
                }
            ]
        },
        "gates": [{"name": "speedup", "verdict": "pass", "reason": "6 | wanted"}],
        "environment": {"cpu": "some CPU"},
    }


def test_a_card_names_the_network_and_every_digest() -> None:
    text = modelcard.render("digits", MANIFEST, SIGNATURE, None)
    for words in ("# digits", "resnet8", "1 x 8 x 8", "a" * 64, "b" * 64, "onnxruntime 1.31"):
        assert words in text
    assert "has not been validated" in text


def test_results_and_verdicts_are_those_of_the_report() -> None:
    text = modelcard.render("digits", MANIFEST, SIGNATURE, _report())
    for words in ("| teacher | 0.9900 | 540 |", "| 1 | 1.500 | 0.250 | 6.00 |", "6 \\| wanted"):
        assert words in text
    assert "has not been validated" not in text


def test_an_engine_for_other_gpus_says_which() -> None:
    manifest = msgspec.structs.replace(MANIFEST, backend="tensorrt-rtx", targets=("sm89", "sm120"))
    text = modelcard.render("digits", manifest, SIGNATURE, None)
    assert "GPUs of sm89, sm120" in text
    assert "Triton has no backend for engines of tensorrt-rtx" in text
    there = msgspec.structs.replace(MANIFEST, gpu="NVIDIA L4", compute_capability="8.9")
    assert "NVIDIA L4 (compute capability 8.9)" in modelcard.render("d", there, SIGNATURE, None)
