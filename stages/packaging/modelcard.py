"""The model card of a package, as Markdown: what it is, where it comes from, how good it is."""

from collections.abc import Sequence

from pipeline.gates.build_records import EngineManifest, Signature
from pipeline.gates.real_images import RealImages
from pipeline.report.markdown import paragraph, table
from pipeline.report.records import Report
from stages.packaging import triton

_EXAMPLE = (
    "`python run.py IMAGE...` names the class of each image, which it scales and of which it takes "
    "the middle; its first line names what it needs. Images of other than 1, 3 or 4 channels are "
    ".npy files, uint8 of shape (height, width, channels)."
)
_SERVICE = (
    "`python serve.py` answers `POST /classify` with the class of the image in its body, as JSON; "
    "`python serve.py --help` has its bounds. `docker build -t NAME .` makes an image of it; "
    "`requirements.txt` pins what both need."
)

_NOT_PRIVATE = """\
"Without data" is not "private". A network can give away who was in its training set, and so can
one that was distilled from it: distillation protects the teacher's training set to a limited
degree only (Jagielski et al., *Students Parrot Their Teachers*, NeurIPS 2023; Zhao and Zhang,
*Does Training with Synthetic Data Truly Protect Privacy?*, ICLR 2025). From a network and its
confidences, training images can be recovered in part (Fredrikson et al., *Model Inversion
Attacks that Exploit Confidence Information and Basic Countermeasures*, ACM CCS 2015). A
backdoor of the teacher can pass on to a student that is distilled without data (Hong et al.,
*Revisiting Data-Free Knowledge Distillation with Poisoned Teachers*, ICML 2023); validation on
clean images does not show it. Nothing of this was measured here."""


def server_use(manifest: EngineManifest) -> tuple[str, ...]:
    """Return paragraphs on how to use a package for servers."""
    served = f"Triton has no backend for engines of {manifest.backend}."
    if manifest.ep_context:
        served = "Triton does not load what an execution provider of ONNX Runtime compiled."
    elif triton.served(manifest):
        served = "`triton/` is a model repository for Triton Inference Server."
    return _EXAMPLE, _SERVICE, served


def render(
    name: str,
    manifest: EngineManifest,
    signature: Signature,
    report: Report | None,
    use: Sequence[str],
) -> str:
    """Return the card; `report` is the document of the run that validated this engine.

    `use` are paragraphs on how to use what the package holds.
    """
    runs_on = manifest.device
    if manifest.targets:
        runs_on = f"GPUs of {', '.join(manifest.targets)}"
    elif manifest.gpu:
        runs_on = f"{manifest.gpu} (compute capability {manifest.compute_capability})"
    channels, height, width = signature.shape
    sizes = f"{channels} x {height} x {width}"
    if signature.layout == "NHWC":
        sizes = f"{height} x {width} x {channels}"
    low, high = signature.value_range
    images = f"{sizes}, {signature.input_type}, from {low} (black) to {high} (white)"
    takes = manifest.preprocessing
    if takes and not takes.mean:
        images += " (assumed: the ONNX file does not say)"
    if takes:
        images += f"; {takes.scaling}, and the middle cut out"
    real = manifest.real_images or (report.real_images if report else None)
    facts = {
        "architecture": signature.arch or "not named by its ONNX file",
        "backend": f"{manifest.backend} {manifest.backend_version}",
        "runs on": runs_on,
        "precision": manifest.precision,
        "images": images,
        "classes": str(signature.num_classes),
        **({"distillation": real.statement} if real else {}),
        "engine": f"{manifest.engine}, sha256 {manifest.sha256}",
        "built from": f"ONNX, sha256 {manifest.onnx_sha256}",
    }
    not_validated = "This engine has not been validated; `madpipe validate` measures it."
    lines = [
        *(f"# {name}", "", "An image classifier, packed by madpipe.", ""),
        *table(" | ", list(facts.items())),
        *("## Validation", "", *(_results(report) if report else [not_validated]), ""),
        *("## Use", ""),
        *(line for paragraph in use for line in (paragraph, "")),
        *("## Privacy", "", _privacy(real), ""),
    ]
    return "\n".join(lines)


def _privacy(real: RealImages | None) -> str:
    """Return what is to be known of images in the package, and of what the network may leak."""
    if real is not None and not real.is_data_free:
        used = "The distillation used real images without labels, of which the same holds. "
    else:
        used = ""
    return f"No image is in this package. {used}{_NOT_PRIVATE}"


def _results(report: Report) -> list[str]:
    accuracies = [
        (network, f"{accuracy.top1:.4f}", accuracy.n)
        for network, accuracy in report.accuracy.items()
    ]
    latencies = [
        (
            batch.batch,
            f"{batch.teacher.p50_ms:.3f}",
            f"{batch.engine.p50_ms:.3f}",
            f"{batch.speedup.median:.2f}",
        )
        for batch in report.latency.batches
    ]
    images_agreements = [
        (network, f"{agreement.value:.4f}", agreement.n)
        for network, agreement in report.images_agreement.items()
    ]
    latency = report.latency
    gates = [(gate.name, gate.verdict, gate.reason) for gate in report.gates]
    measured_on = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    return [
        *table("network | top-1 | n", accuracies),
        *table("network | agrees with teacher on unlabelled images | n", images_agreements),
        *(
            paragraph(
                f"{network} loses {drop.lost} and gains {drop.gained} of {drop.n} images against "
                f"the {drop.reference}: a drop of {(drop.lost - drop.gained) / drop.n:.4f}"
            )
            + "\n"
            for network, drop in report.paired.items()
            if network == "engine"
        ),
        *table("batch | teacher p50 ms | engine p50 ms | speed-up", latencies),
        *(
            [paragraph(f"Latency on {latency.device} with {latency.threads} threads") + "\n"]
            if latencies
            else []
        ),
        *table("gate | verdict | because", gates),
        *([paragraph(f"Measured on: {measured_on}")] if measured_on else []),
    ]
