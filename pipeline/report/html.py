"""The report as one HTML page that needs no network."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import StoreError
from pipeline.gates import pictures as stored_pictures
from pipeline.gates.measurement_files import read
from pipeline.gates.measurements import LatencyRecord, Samples
from pipeline.report import confusion, pictures, plots, reliability
from pipeline.report.confusion import Confusion
from pipeline.report.markdown import first_inference_rows
from pipeline.report.pictures import PicturesView
from pipeline.report.records import CurvePoint, Report
from pipeline.screen import formatting

if TYPE_CHECKING:
    from jinja2 import Template

_FOLDER = Path(__file__).parent
_GROUPS: Mapping[str, Sequence[str]] = {
    "Losses": ("loss",),
    "Distribution shift of the generators": ("shift", "js", "divergence"),
    "Entropy of the teacher's predictions": ("entropy",),
    "Agreement and accuracy": ("agree", "top1", "accuracy"),
}
"""Plots of the training curves, by what the curves' names hold."""


def template(path: Path) -> "Template":
    """Return a template, which may extend the report's page; what it inserts is escaped."""
    import jinja2  # noqa: PLC0415  (only this form needs it)

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([path.parent, _FOLDER]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    ).get_template(path.name)


def render(report: Report, *, has_pictures: bool = True) -> str:
    """Return the report as a page: the verdict first, then what it rests on.

    Without pictures it holds no image, neither a real nor a synthetic one, and can be shared.
    """
    verdict, reason = report.verdict
    picture = _output(report, "picture") if has_pictures else None
    samples = _samples(report)
    confused = _confusion(report, samples)
    return template(_FOLDER / "page.html.jinja").render(
        report=report,
        verdict=verdict,
        reason=reason,
        formatting=formatting,
        picture=base64.b64encode(picture.read_bytes()).decode() if picture else None,
        latency_plots=_latency_plots(samples),
        noise=_noise(report),
        first_inference=first_inference_rows(report.latency.first_inference),
        reliability=_reliability(report),
        confused=confused,
        confusion=confusion,
        confusion_plot=confusion.picture(confused, f"Answers of the {confused.network} by label")
        if confused and len(confused.classes) > confusion.MOST_IN_TABLE
        else None,
        worst=_worst(report) if has_pictures else None,
        are_left_out=not has_pictures,
        curves=_curve_plots(report.curves),
    )


def _output(report: Report, name: str) -> Path | None:
    """Return the file of a stage's output by its name, None where it is gone."""
    paths = (Path(stage.outputs[name].path) for stage in report.stages if name in stage.outputs)
    return next((path for path in paths if path.is_file()), None)


def _samples(report: Report) -> Samples | None:
    """Return the raw samples, None where they are gone or of another kind."""
    path = _output(report, "samples")
    try:
        return read(path, Samples) if path else None
    except StoreError:
        return None


def _worst(report: Report) -> PicturesView | None:
    """Return the worst images, None where there are none, or none that can be read."""
    path = _output(report, "pictures")
    try:
        return pictures.view(stored_pictures.read(path)) if path else None
    except StoreError:
        return None


def _confusion(report: Report, samples: Samples | None) -> Confusion | None:
    """Return what the engine takes for what, None where that was not measured."""
    if samples is None or report.dataset is None or samples.dataset.id != report.dataset.id:
        return None
    return confusion.count(samples, report.dataset.classes)


def _reliability(report: Report) -> list[tuple[str, str]]:
    """Return the reliability diagrams of teacher and engine, or of what stands for the engine."""
    last = [name for name in ("engine", "graph", "student") if name in report.accuracy][:1]
    networks = [name for name in ("teacher", *last) if name in report.accuracy]
    return [
        (name, reliability.diagram(report.accuracy[name], f"Reliability of the {name}"))
        for name in networks
    ]


def _latency_plots(raw: Samples | None) -> list[str]:
    """Return the plots of the raw latencies, none where there are none."""
    latency = raw.latency if raw else None
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
