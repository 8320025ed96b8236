"""What GitHub displays of a run besides its exit code: annotations and the step's summary.

Workflow commands are lines `::error title=...::text`; the text is escaped as GitHub's own
toolkit does it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pipeline.gates.judge import Verdict
from pipeline.report import markdown
from pipeline.report.records import Report
from pipeline.texts import WORKFLOW_MARK, printable, screen_text

Level = Literal["error", "warning", "notice"]
_MOST_SUMMARY_BYTES = 1_000_000


def annotations(report: Report) -> list[str]:
    """Return a workflow command for each failed stage, each gate that did not pass, real images."""
    lines = [
        annotation("error", f"stage {stage.name} failed", stage.message)
        for stage in report.stages
        if stage.status == "failed"
    ]
    if report.real_images and not report.real_images.is_data_free:
        lines.append(annotation("notice", "real images", report.real_images.statement))
    return [*lines, *verdict_annotations(report.gates)]


def verdict_annotations(verdicts: Sequence[Verdict], where: str = "") -> list[str]:
    """Return a workflow command for each verdict that is unmet; `where` ends its title."""
    return [
        annotation(
            "warning" if verdict.only_warns or verdict.is_open else "error",
            f"{verdict.name} {verdict.verdict}{where}",
            verdict.reason,
        )
        for verdict in verdicts
        if verdict.is_unmet
    ]


def annotation(level: Level, title: str, text: str) -> str:
    """Return the workflow command that annotates a run."""
    lines = "\n".join(map(printable, text.split("\n")))
    title = _escaped(printable(f"madpipe: {title}"), ":,")
    return f"::{level} title={title}::{_escaped(lines)}".replace(WORKFLOW_MARK, r"#\#[")


def publish(report: Report) -> None:
    """Annotate, and append the report to the step's summary, where this runs in a workflow."""
    publish_lines(annotations(report), lambda: markdown.render(report))


def publish_lines(lines: Sequence[str], summary: Callable[[], str]) -> None:
    """Write annotations, and append Markdown to the step's summary, where this is a workflow.

    Annotations go to standard error, which GitHub reads as well, so that JSON on standard
    output stays JSON. A summary that cannot be written is a line there and no failure.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in lines:
            sys.stderr.write(line + "\n")
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("ab") as file:
                file.write(summary().encode()[:_MOST_SUMMARY_BYTES] + b"\n")
        except OSError as error:
            wrong = f"cannot be written ({error.strerror})"
            sys.stderr.write(screen_text(f"{path}: {wrong}; check GITHUB_STEP_SUMMARY") + "\n")


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
