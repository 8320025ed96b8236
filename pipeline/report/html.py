"""The report as one HTML page that needs no network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import StoreError
from pipeline.gates.measurements import LatencyRecord, Samples, read
from pipeline.report import plots
from pipeline.report.markdown import first_inference_rows
from pipeline.report.records import CurvePoint, Report
from pipeline.screen import formatting

_GROUPS: Mapping[str, Sequence[str]] = {
    "Losses": ("loss",),
    "Distribution shift of the generators": ("shift", "js", "divergence"),
    "Entropy of the teacher's predictions": ("entropy",),
    "Agreement and accuracy": ("agree", "top1", "accuracy"),
}
"""Plots of the training curves, by what the curves' names hold."""


def render(report: Report) -> str:
    """Return the report as a page: the verdict first, then what it rests on."""
    import jinja2  # noqa: PLC0415  (only this form needs it)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    verdict, reason = report.verdict
    picture = _output(report, "picture")
    return environment.get_template("page.html.jinja").render(
        report=report,
        verdict=verdict,
        reason=reason,
        formatting=formatting,
        picture=base64.b64encode(picture.read_bytes()).decode() if picture else None,
        latency_plots=_latency_plots(report),
        noise=_noise(report),
        first_inference=first_inference_rows(report.latency.first_inference),
        reliability=plots.reliability(report.accuracy, "Reliability of teacher and engine")
        if report.accuracy
        else None,
        curves=_curve_plots(report.curves),
    )


def _output(report: Report, name: str) -> Path | None:
    """Return the file of a stage's output by its name, None where it is gone."""
    paths = (Path(stage.outputs[name].path) for stage in report.stages if name in stage.outputs)
    return next((path for path in paths if path.is_file()), None)


def _latency_plots(report: Report) -> list[str]:
    """Return the plots of the raw samples, none where they are gone or of another kind."""
    path = _output(report, "samples")
    try:
        latency = read(path, Samples).latency if path else None
    except StoreError:
        return []
    figures = []
    for batch, samples in latency.batches.items() if latency else ():
        figures.append(plots.distribution(samples, f"Latencies at batch {batch}"))
        figures.append(plots.over_time(samples, f"Latencies in order at batch {batch}"))
    return figures


def _curve_plots(curves: Sequence[CurvePoint]) -> list[tuple[str, str]]:
    """Return title and plot of each group of training curves that is there."""
    left = list(dict.fromkeys(name for point in curves for name in point if name != "round"))
    figures = []
    for title, words in _GROUPS.items():
        names = [name for name in left if any(word in name.lower() for word in words)]
        left = [name for name in left if name not in names]
        if names:
            figures.append((title, plots.lines(curves, names[:4], title)))
    return figures


def _noise(report: Report) -> list[str]:
    """Return what disturbed the latencies, a line for each network, and where warm-up failed."""
    batches = report.latency.batches
    networks: dict[str, list[LatencyRecord | None]] = {
        "teacher": [batch.teacher for batch in batches],
        "teacher as engine": [batch.teacher_engine for batch in batches],
        "engine": [batch.engine for batch in batches],
    }
    lines = []
    for label, records in networks.items():
        causes = dict.fromkeys(cause for record in records if record for cause in record.causes)
        if causes:
            lines.append(f"Latencies of the {label} were noisy: {'; '.join(causes)}.")
    if unsteady := ", ".join(str(batch.batch) for batch in batches if not batch.warmup.is_steady):
        lines.append(f"Warming up ended before latencies were steady at batch {unsteady}.")
    return lines
