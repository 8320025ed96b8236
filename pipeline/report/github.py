"""What GitHub displays of a run besides its exit code: annotations and the step's summary.

Workflow commands are lines `::error title=...::text`; the text is escaped as GitHub's own
toolkit does it.
"""

import os
import sys
from pathlib import Path

from pipeline.report import markdown
from pipeline.report.records import Report

_MOST_SUMMARY_BYTES = 1_000_000


def annotations(report: Report) -> list[str]:
    """Return a workflow command for each failed stage, each gate that did not pass, real images."""
    messages = [
        ("error", f"stage {stage.name} failed", stage.message)
        for stage in report.stages
        if stage.status == "failed"
    ]
    if report.real_images and not report.real_images.is_data_free:
        messages.append(("notice", "real images", report.real_images.statement))
    for gate in report.gates:
        if gate.is_unmet:
            level = "warning" if gate.only_warns or gate.is_open else "error"
            messages.append((level, f"{gate.name} {gate.verdict}", gate.reason))
    return [
        f"::{level} title={_escaped(f'madpipe: {title}', ':,')}::{_escaped(text)}"
        for level, title, text in messages
    ]


def publish(report: Report) -> None:
    """Annotate, and append the report to the step's summary, where this runs in a workflow.

    Annotations go to standard error, which GitHub reads as well, so that JSON on standard
    output stays JSON. A summary that cannot be written is a line there and no failure.
    """
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations(report):
            sys.stderr.write(line + "\n")
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("ab") as file:
                file.write(markdown.render(report).encode()[:_MOST_SUMMARY_BYTES] + b"\n")
        except OSError as error:
            wrong = f"cannot be written ({error.strerror})"
            sys.stderr.write(f"{path}: {wrong}; check GITHUB_STEP_SUMMARY\n")


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
