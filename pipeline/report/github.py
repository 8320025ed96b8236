"""What GitHub shows of a run besides its exit code: annotations and the step's summary.

Workflow commands are lines `::error title=...::text`; the text is escaped as GitHub's own
toolkit does it.
"""

import os
import sys
from pathlib import Path
from typing import Any

from pipeline.gates.judge import is_open
from pipeline.report import markdown

_MOST_SUMMARY_BYTES = 1_000_000


def is_here() -> bool:
    """Tell whether this process runs in a GitHub workflow."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def annotations(report: dict[str, Any]) -> list[str]:
    """Return a workflow command for each stage that failed and each gate that did not pass."""
    lines = [
        _command("error", f"madpipe: stage {stage['name']} failed", stage.get("message", ""))
        for stage in report["stages"]
        if stage["status"] == "failed"
    ]
    for gate in report["gates"]:
        is_open_gate = is_open(gate["verdict"], gate["is_elsewhere"])
        if gate["verdict"] == "fail" or is_open_gate:
            level = "warning" if gate["severity"] == "warn" or is_open_gate else "error"
            title = f"madpipe: {gate['name']} {gate['verdict']}"
            lines.append(_command(level, title, gate["reason"]))
    return lines


def tell(report: dict[str, Any]) -> None:
    """Annotate, and append the report to the step's summary, where this runs in a workflow.

    Annotations go to standard error, which GitHub reads as well, so that JSON on standard
    output stays JSON. A summary that cannot be written is told and is no failure.
    """
    if is_here():
        for line in annotations(report):
            sys.stderr.write(line + "\n")
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    text = markdown.render(report).encode()[:_MOST_SUMMARY_BYTES]
    try:
        with Path(path).open("ab") as file:
            file.write(text + b"\n")
    except OSError as error:
        wrong = f"cannot be written ({error.strerror})"
        sys.stderr.write(f"{path}: {wrong}; check GITHUB_STEP_SUMMARY\n")


def _command(level: str, title: str, text: str) -> str:
    return f"::{level} title={_escaped(title, ':,')}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
