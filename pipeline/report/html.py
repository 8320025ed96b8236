"""The report as one HTML page that needs no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.report import plots
from pipeline.report.summary import overall
from pipeline.screen import formatting

_GROUPS: Mapping[str, Sequence[str]] = {
    "Losses": ("loss",),
    "Distribution shift of the generators": ("shift", "js", "divergence"),
    "Entropy of the teacher's answers": ("entropy",),
    "Agreement and accuracy": ("agree", "top1", "accuracy"),
}
"""Plots of the training curves, by what the columns' names hold."""

_CANDIDATE_COLUMNS = ("backend", "device", "precision")


def render(report: dict[str, Any]) -> str:
    """Return the report as a page: the verdict first, then what it rests on."""
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415  (only this form needs it)

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": formatting.duration,
        "candidate": _candidate,
        "figure": formatting.number,
        "metrics": formatting.metrics,
        "size": formatting.size,
        "verdict": formatting.verdict,
    }
    verdict, because = overall(report)
    return environment.get_template("page.html.jinja").render(
        report=report,
        verdict=verdict,
        because=because,
        picture=_picture(report),
        latency_plots=_latency_plots(report),
        noise=_noise(report["latency"]["batches"]),
        reliability=_reliability(report),
        curves=_curve_plots(report["curves"]),
        candidate_columns=_candidate_columns(report["candidates"]),
    )


def _output(report: Mapping[str, Any], name: str) -> bytes | None:
    """Return the content of a stage's output by its name, None where it is gone."""
    for stage in report["stages"]:
        output = stage["outputs"].get(name)
        if output and Path(output["path"]).is_file():
            return Path(output["path"]).read_bytes()
    return None


def _picture(report: Mapping[str, Any]) -> str | None:
    """Return the picture of synthetic samples as a data address, None where there is none."""
    content = _output(report, "picture")
    if content is None:
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _latency_plots(report: Mapping[str, Any]) -> list[str]:
    """Return the plots of the raw samples, none where they are gone or of another kind."""
    content = _output(report, "samples")
    if content is None:
        return []
    try:
        batches = json.loads(content)["latency"]["batches"]
    except (ValueError, LookupError, TypeError):
        return []
    drawn = []
    for batch, samples in batches.items():
        drawn.append(plots.distribution(samples, f"Latencies at batch {batch}"))
        drawn.append(plots.over_time(samples, f"Latencies in order at batch {batch}"))
    return drawn


def _reliability(report: Mapping[str, Any]) -> str | None:
    if not any(each.get("calibration") for each in report["accuracy"].values()):
        return None
    return plots.reliability(report["accuracy"], "Reliability of teacher and engine")


def _curve_plots(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return title and plot of each group of training curves that is there."""
    left = plots.numeric_columns(rows)
    drawn = []
    for title, words_in_names in _GROUPS.items():
        names = [each for each in left if any(word in each.lower() for word in words_in_names)]
        left = [each for each in left if each not in names]
        if names:
            drawn.append((title, plots.lines(rows, names[:4], title)))
    return drawn


def _noise(batches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what disturbed the latencies, one line for each side, and where warming up failed."""
    sides = {"teacher": "teacher", "teacher_engine": "teacher as engine", "engine": "engine"}
    lines = []
    for name, label in sides.items():
        found = [cause for each in batches for cause in (each.get(name) or {}).get("causes", [])]
        if found:
            lines.append(f"Latencies of the {label} were noisy: {'; '.join(dict.fromkeys(found))}.")
    unsteady = [each["batch"] for each in batches if not each["warmup"]["is_steady"]]
    if unsteady:
        told = ", ".join(map(str, unsteady))
        lines.append(f"Warming up ended before latencies were steady at batch {told}.")
    return lines


def _candidate(value: Any, column: str) -> str:
    """Return a cell of the table of candidates."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return formatting.size(value) if column == "bytes" else formatting.number(value)


def _candidate_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of the table of candidates, those that name a candidate first."""
    names = dict.fromkeys(name for each in rows for name in each)
    first = [name for name in _CANDIDATE_COLUMNS if name in names]
    plain = [
        name
        for name in names
        if name not in first and not any(isinstance(each.get(name), dict | list) for each in rows)
    ]
    return first + plain
