"""One run against another as Markdown, for the comment on a pull request and a step's summary."""

from collections.abc import Sequence

from pipeline.gates.judge import Verdict
from pipeline.gates.pairs import other_machine
from pipeline.gates.stored_runs import Run
from pipeline.report.figures import Figure, figures_of
from pipeline.report.markdown import escaped, paragraph, table
from pipeline.screen import formatting

_OF_A_MACHINE = {"ms", "images/s"}
_HEAD = "### madpipe: against the baseline:"


def render(base: Run, head: Run, verdicts: Sequence[Verdict]) -> str:
    """Return what was judged, and every figure that both runs have."""
    rows = [
        (verdict.name, formatting.verdict(verdict.verdict, verdict.severity), verdict.reason)
        for verdict in verdicts
    ]
    lines = [
        f"{_HEAD} {_outcome(verdicts)}",
        "",
        *([f"The baseline is of revision {escaped(base.revision)}.", ""] if base.revision else []),
        *([paragraph(f"{statement}."), ""] if (statement := other_teachers(base, head)) else []),
        *table("bound | verdict | because", rows),
        "<details><summary>Figures of both, as each run measured them</summary>",
        "",
        *table("measure | baseline | this run | change", _figures(base, head)),
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def not_compared(reason: str) -> str:
    """Return that nothing was compared, and why."""
    return f"{_HEAD} not compared\n\n{paragraph(reason)}\n"


def other_teachers(base: Run, head: Run) -> str:
    """Return that two runs had different teachers, nothing where they had the same."""
    if base.teacher_sha256 == head.teacher_sha256:
        return ""
    names = [run.teacher_sha256[:12] or "unknown" for run in (base, head)]
    return (
        f"The teachers differ (sha256 {names[0]} in A, {names[1]} in B): latency, speed-up and "
        "agreement are not compared, accuracy on the same images and sizes are"
    )


def _outcome(verdicts: Sequence[Verdict]) -> str:
    strict = [verdict for verdict in verdicts if not verdict.only_warns]
    if any(verdict.verdict == "fail" for verdict in strict):
        return "fail"
    if any(verdict.is_open for verdict in strict):
        return "inconclusive"
    return "pass" if verdicts else "nothing is bounded"


def _figures(base: Run, head: Run) -> list[tuple[str, str, str, str]]:
    before = {figure.name: figure for figure in figures_of(base.measurements)}
    after = {figure.name: figure for figure in figures_of(head.measurements)}
    is_moved = other_machine(base, head) is not None
    return [
        (
            name,
            _text(before[name]),
            _text(figure),
            "another machine"
            if is_moved and figure.unit in _OF_A_MACHINE
            else _change(before[name], figure),
        )
        for name, figure in after.items()
        if name in before
    ]


def _text(figure: Figure) -> str:
    value = f"{figure.value:.0f}" if figure.unit == "bytes" else f"{figure.value:.4g}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({figure.low:.4g} to {figure.high:.4g})"


def _change(before: Figure, after: Figure) -> str:
    if not before.value or before.name.endswith("_drop"):
        return f"{after.value - before.value:+.4g}"
    return f"{after.value / before.value - 1:+.1%}"
