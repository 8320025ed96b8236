"""The model card of a package, as Markdown: what it is, where it comes from, how good it is."""

from pipeline.gates.build_records import EngineManifest, Signature
from pipeline.report.markdown import table
from pipeline.report.records import Report
from stages.packaging import triton

_EXAMPLE = (
    "`python run.py IMAGE...` names the class of each image, of which it scales the shorter side "
    "and takes the middle; its first line names what it needs."
)
_TRITON = "`triton/` is a model repository for Triton Inference Server."
_NOT_VALIDATED = "This engine has not been validated; `madpipe validate` measures it."


def render(name: str, manifest: EngineManifest, signature: Signature, report: Report | None) -> str:
    """Return the card; `report` is the document of the run that validated this engine."""
    lines = [f"# {name}", "", "An image classifier, packed by madpipe.", ""]
    lines += table(
        ("", ""),
        [
            ("architecture", signature.arch or "not named by its ONNX file"),
            ("backend", f"{manifest.backend} {manifest.backend_version}"),
            ("runs on", _where(manifest)),
            ("precision", manifest.precision),
            ("images", _images(signature)),
            ("classes", str(signature.num_classes)),
            ("engine", f"{manifest.engine}, sha256 {manifest.sha256}"),
            ("built from", f"ONNX, sha256 {manifest.onnx_sha256}"),
        ],
    )
    lines += ["## Validation", ""]
    lines += _results(report) if report else [_NOT_VALIDATED, ""]
    lines += ["## Use", "", _EXAMPLE, ""]
    served = manifest.backend in triton.SERVED
    lines += [
        _TRITON if served else f"Triton has no backend for engines of {manifest.backend}.",
        "",
    ]
    return "\n".join(lines)


def _images(signature: Signature) -> str:
    channels, height, width = signature.shape
    if signature.input_type == "UINT8":
        return f"{height} x {width} x {channels}, UINT8, as decoded (0 to 255)"
    return f"{channels} x {height} x {width}, {signature.input_type}, in [0, 1]"


def _where(manifest: EngineManifest) -> str:
    if manifest.targets:
        return f"GPUs of {', '.join(manifest.targets)}"
    if manifest.gpu:
        return f"{manifest.gpu} (compute capability {manifest.compute_capability})"
    return manifest.device


def _results(report: Report) -> list[str]:
    lines = table(
        ("network", "top-1", "n"),
        [
            (network, f"{accuracy.top1:.4f}", str(accuracy.n))
            for network, accuracy in report.accuracy.items()
        ],
    )
    lines += table(
        ("batch", "teacher p50 ms", "engine p50 ms", "speed-up"),
        [
            (
                str(batch.batch),
                f"{batch.teacher.p50_ms:.3f}",
                f"{batch.engine.p50_ms:.3f}",
                f"{batch.speedup.median:.2f}",
            )
            for batch in report.latency.batches
        ],
    )
    lines += table(
        ("gate", "verdict", "because"),
        [(gate.name, gate.verdict, gate.reason) for gate in report.gates],
    )
    measured_on = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    return [*lines, f"Measured on: {measured_on}", ""]
