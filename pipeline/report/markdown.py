"""The report as Markdown, for a pull-request comment or a step summary."""

import re
from collections.abc import Mapping, Sequence
from statistics import median

from pipeline.gates.measurements import Agreement, FirstInference
from pipeline.report.records import Report
from pipeline.screen import formatting
from pipeline.texts import as_utf8, printable

_MARKER = "<!-- madpipe report -->"
_MARKUP = re.compile(r"[\\`*~|\[\]]")
_BEGINNING = re.compile(r"^(\d*)([#>+=.)-])")
_REFERENCES = (
    (re.compile("://"), "&#58;//"),
    (re.compile(r"www\.", re.IGNORECASE), "www&#46;"),
    # GitHub looks for these in what is shown, so that nothing but a space of no width helps.
    (re.compile(r"@(?=\w)"), "@&#8203;"),
    (re.compile(r"(?<!&)#(?=\d)"), "#&#8203;"),
)
"""What becomes a link of itself, and the same that becomes none."""


_UNESCAPED_BAR = re.compile(r"(?<!\\)\|")


def render(report: Report) -> str:
    """Return the report as Markdown."""
    verdict, reason = report.verdict
    gates = [
        (gate.name, formatting.verdict(gate.verdict, gate.severity), gate.reason)
        for gate in report.gates
    ]
    latencies = [
        (
            batch.batch,
            _number(batch.teacher.p50_ms, 3),
            _number(batch.teacher_engine.p50_ms if batch.teacher_engine else None, 3),
            _number(batch.engine.p50_ms, 3),
            _number(batch.engine.p90_ms, 3),
            _number(batch.speedup.median, 2),
            f"{batch.speedup.interval[0]:.2f} to {batch.speedup.interval[1]:.2f}",
            _number(batch.speedup_same_backend.median if batch.speedup_same_backend else None, 2),
            batch.speedup.pairs,
        )
        for batch in report.latency.batches
    ]
    candidates = [
        (
            candidate.backend,
            candidate.arithmetic,
            _number(candidate.p50_ms, 3),
            _number(candidate.disagreement, 4),
            candidate.verdict,
            candidate.reason,
        )
        for candidate in report.candidates
    ]
    stages = [
        (stage.name, stage.status, f"{stage.seconds:.1f}", formatting.metrics(stage.metrics))
        for stage in report.stages
    ]
    lines = [
        *(_MARKER, f"## madpipe: {verdict}", "", paragraph(reason), ""),
        *([paragraph(f"{report.real_images.statement}."), ""] if report.real_images else []),
        *table("gate | verdict | because", gates),
        *_accuracy(report),
        *_agreement("synthetic", report.bank_agreement),
        *_agreement("unlabelled", report.images_agreement),
        *table(
            "batch | teacher p50 ms | teacher as engine | engine | p90 | speed-up | 95 % interval"
            " | in the same backend | pairs",
            latencies,
        ),
        *table(
            "first inference | median ms | fastest | slowest | processes",
            first_inference_rows(report.latency.first_inference),
        ),
        *table(
            "candidate | precision | p50 ms | differs from fp32 | verdict | because", candidates
        ),
        *table("stage | status | seconds | figures", stages),
        paragraph(", ".join(f"{name} {value}" for name, value in report.environment.items())),
    ]
    return "\n".join(lines) + "\n"


def table(head: str, rows: Sequence[Sequence[str | int]]) -> list[str]:
    """Return the lines of a table and an empty one after it; no lines where there are no rows.

    `head` names the columns, with ` | ` between them; a line break in a cell becomes a space,
    and nothing in it is markup.
    """
    return markup_table(head, [[escaped(str(cell)) for cell in row] for row in rows])


def markup_table(head: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the same of cells that are markup of our own, in one line each."""
    if not rows:
        return []
    cells = [[_UNESCAPED_BAR.sub(r"\\|", cell) for cell in row] for row in rows]
    columns = head.split(" | ")
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *cells)]
    return [*lines, ""]


def _agreement(kind: str, agreements: Mapping[str, Agreement]) -> list[str]:
    """Return the table of how often each network decides as the teacher on images of a kind."""
    rows = [(name, _number(share.value, 4), share.n) for name, share in agreements.items()]
    return table(f"network | agrees with teacher on {kind} images | n", rows)


def _accuracy(report: Report) -> list[str]:
    """Return the tables of each network's accuracy, and of what each step lost."""
    accuracies = []
    agreements = {network: agreement.value for network, agreement in report.agreement.items()}
    for network, accuracy in report.accuracy.items():
        error = accuracy.calibration.error
        figures = (accuracy.top1, accuracy.top5, error, agreements.get(network))
        accuracies.append((network, *(_number(figure, 4) for figure in figures), str(accuracy.n)))
    steps = []
    for network, paired in report.paired.items():
        step = paired.step
        worst = ", ".join(
            f"{loss.class_name} (-{loss.lost}/+{loss.gained} of {loss.n})"
            for loss in step.worst[:3]
        )
        name = f"{step.reference} to {network}"
        steps.append((name, step.lost, step.gained, step.changed, worst))
    return [
        *table("network | top-1 | top-5 | calibration error | agrees with teacher | n", accuracies),
        *table("step | lost | gained | answers changed | classes that lost most", steps),
    ]


def first_inference_rows(first: FirstInference | None) -> list[tuple[str, str, str, str, int]]:
    """Return a row of times in ms for each way to the first inference; none where not measured."""
    if first is None:
        return []
    ways = {"from opening the engine": first.times_ms, "with kept kernels": first.cached_times_ms}
    return [
        (way, f"{median(times):.1f}", f"{min(times):.1f}", f"{max(times):.1f}", len(times))
        for way, times in ways.items()
        if times
    ]


def escaped(text: str) -> str:
    """Return a text as a part of one line in which nothing is markup.

    It is no HTML, link, picture, code or border of a cell, and names no user or issue of GitHub.
    """
    line = printable(" ".join(as_utf8(text).split())).replace("&", "&amp;").replace("<", "&lt;")
    line = _MARKUP.sub(r"\\\g<0>", line)
    for pattern, inert in _REFERENCES:
        line = pattern.sub(inert, line)
    return line


def paragraph(text: str) -> str:
    """Return a text as a line of its own, which begins no heading, list or rule."""
    return _BEGINNING.sub(r"\1\\\2", escaped(text))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
