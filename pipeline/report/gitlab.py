"""What GitLab shows in a merge request besides tests: Code Quality, and figures against its target.

Code Quality is a list of findings, each with a `fingerprint` by which GitLab tells new ones from
old ones, so nothing that changes from run to run is in it. Figures are in the text form of
OpenMetrics, which ends with `# EOF`.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import texts
from pipeline.config.load import key_lines, line_of
from pipeline.gates.judge import Verdict
from pipeline.report.figures import Figure
from pipeline.report.records import Report


def code_quality(report: Report, settings: Path) -> str:
    """Return a finding for each failed stage and each gate that is unmet, at its line of a file.

    `settings` is the settings file; the line is that of the gate's key, else 1.
    """
    path = _in_repository(settings)
    lines = key_lines(texts.decode(settings.read_bytes())) if settings.is_file() else {}
    findings = [
        _finding(path, f"stage/{stage.name}", f"stage failed: {stage.message}", "blocker", 1)
        for stage in report.stages
        if stage.status == "failed"
    ]
    for gate in report.gates:
        if gate.is_unmet:
            line = line_of(lines, ("gates", gate.name)) or 1
            text = f"{gate.name} {gate.verdict}: {gate.reason}"
            findings.append(_finding(path, f"gate/{gate.name}", text, _severity(gate), line))
    return json.dumps(findings, indent=2, ensure_ascii=False) + "\n"


def _severity(gate: Verdict) -> str:
    if gate.only_warns:
        return "minor"
    return "critical" if gate.verdict == "fail" else "major"


def _finding(path: str, check: str, text: str, severity: str, line: int) -> Mapping[str, object]:
    return {
        "description": f"madpipe: {text}",
        "check_name": f"madpipe/{check}",
        "fingerprint": hashlib.sha256(f"madpipe\0{path}\0{check}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": line}},
    }


def _in_repository(path: Path) -> str:
    """Return a path from the repository's root, as GitLab wants it, with slashes."""
    root = Path(os.environ.get("CI_PROJECT_DIR") or ".").resolve()
    whole = path.resolve()
    return (whole.relative_to(root) if whole.is_relative_to(root) else Path(path.name)).as_posix()


def metrics(figures: Sequence[Figure]) -> str:
    """Return the figures as OpenMetrics, gauges named `madpipe_MEASURE`."""
    lines = []
    for figure in figures:
        name = f"madpipe_{figure.name}"
        lines += [f"# TYPE {name} gauge", f"# HELP {name} {figure.meaning}"]
        lines.append(f"{name} {figure.value!r}")
    return "\n".join([*lines, "# EOF"]) + "\n"
