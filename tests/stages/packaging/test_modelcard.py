"""The model card says what is known and does not claim what is not."""

import msgspec

from pipeline.gates.build_records import EngineManifest, Signature
from pipeline.gates.judge import Verdict
from pipeline.gates.real_images import RealImages
from pipeline.report.records import LatencyReport, Report, RunSummary
from stages.packaging import modelcard
from tests.measurements import MEASURED, ON_UNLABELLED, USED

SIGNATURE = Signature(
    input="images", input_type="FLOAT", shape=(1, 8, 8), output="logits", output_type="FLOAT",
    num_classes=10, arch="resnet8",
)  # fmt: skip
MANIFEST = EngineManifest(
    backend="onnxruntime", backend_version="1.31", device="cpu", precision="fp32",
    engine="engine.onnx", sha256="a" * 64, onnx_sha256="b" * 64,
)  # fmt: skip


def _report() -> Report:
    return Report(
        run=RunSummary(command="madpipe run all", started_utc="", elapsed_s=1.0),
        stages=(),
        accuracy=MEASURED.accuracy,
        latency=msgspec.convert(MEASURED.latency, LatencyReport, from_attributes=True),
        gates=(Verdict(name="speedup", verdict="pass", reason="5 | wanted"),),
        environment={"cpu": "some CPU"},
    )


def rendered(
    name: str, manifest: EngineManifest, signature: Signature, report: Report | None
) -> str:
    """Return the card of a package for servers."""
    return modelcard.render(name, manifest, signature, report, modelcard.server_use(manifest))


def test_a_card_names_the_network_and_every_digest() -> None:
    text = rendered("digits", MANIFEST, SIGNATURE, None)
    for words in ("# digits", "resnet8", "1 x 8 x 8", "a" * 64, "b" * 64, "onnxruntime 1.31"):
        assert words in text
    assert "has not been validated" in text


def test_results_and_verdicts_are_those_of_the_report() -> None:
    text = rendered("digits", MANIFEST, SIGNATURE, _report())
    for words in ("| teacher | 0.9900 | 540 |", "| 1 | 0.500 | 0.100 | 5.00 |", "5 \\| wanted"):
        assert words in text
    assert "has not been validated" not in text


def test_an_engine_for_other_gpus_says_which() -> None:
    manifest = msgspec.structs.replace(MANIFEST, backend="tensorrt-rtx", targets=("sm89", "sm120"))
    text = rendered("digits", manifest, SIGNATURE, None)
    assert "GPUs of sm89, sm120" in text
    assert "Triton has no backend for engines of tensorrt-rtx" in text
    there = msgspec.structs.replace(MANIFEST, gpu="NVIDIA L4", compute_capability="8.9")
    assert "NVIDIA L4 (compute capability 8.9)" in rendered("d", there, SIGNATURE, None)


def test_a_card_says_whether_the_student_is_data_free() -> None:
    assert "data-free" not in rendered("digits", MANIFEST, SIGNATURE, None)
    for used, text in ((RealImages(), "| data-free: "), (USED, "| not data-free: ")):
        manifest = msgspec.structs.replace(MANIFEST, real_images=used)
        assert text in rendered("digits", manifest, SIGNATURE, None)
        report = msgspec.structs.replace(_report(), real_images=used)
        assert text in rendered("digits", MANIFEST, SIGNATURE, report)


def test_agreement_on_unlabelled_images_is_in_the_card() -> None:
    agreement = ON_UNLABELLED.images_agreement
    report = msgspec.structs.replace(_report(), images_agreement=agreement)
    text = rendered("digits", MANIFEST, SIGNATURE, report)
    assert "| engine | 0.8500 | 20 |" in text


def test_a_card_says_that_without_data_is_not_private_and_cites_who_showed_it() -> None:
    text = rendered("digits", MANIFEST, SIGNATURE, None)
    privacy = text.partition("## Privacy")[2]
    for source in ("NeurIPS 2023", "ICLR 2025", "ACM CCS 2015", "ICML 2023"):
        assert source in privacy
    assert "real images without labels" not in privacy
    used = msgspec.structs.replace(MANIFEST, real_images=RealImages(learned=5, held_back=1))
    assert "real images without labels" in rendered("digits", used, SIGNATURE, None)
