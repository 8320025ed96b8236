"""Code Quality and metrics of GitLab's merge requests."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from pipeline.report import gitlab
from pipeline.report.figures import figures_of
from pipeline.report.records import Report
from tests.measurements import MEASURED, changed

FINDINGS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string", "minLength": 32},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "properties": {
                    "path": {"type": "string", "pattern": "^[^./]"},
                    "lines": {
                        "type": "object",
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                        "required": ["begin"],
                    },
                },
                "required": ["path", "lines"],
            },
        },
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
    },
}
LINE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]* -?[\d.]+(e[+-]?\d+)?")


def test_unmet_gates_are_findings_at_their_lines(
    report: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = report("gates.speedup.min=50", "gates.student_top1_drop.max=0.0085")
    careful = changed(judged.gates[-1], name="careful", severity="warn")
    judged = changed(judged, gates=[*judged.gates, careful])
    folder = tmp_path / "models"
    folder.mkdir()
    settings = folder / "pipeline.toml"
    settings.write_text("[gates]\nstudent_top1_drop.max = 0.1\n\nspeedup.min = 50\n", "utf-8")
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))
    findings = json.loads(gitlab.code_quality(judged, settings))
    jsonschema.validate(findings, FINDINGS)
    placed = {
        finding["check_name"]: (finding["severity"], finding["location"]["lines"]["begin"])
        for finding in findings
    }
    assert placed == {
        "madpipe/gate/speedup": ("critical", 4),
        "madpipe/gate/student_top1_drop": ("major", 2),
        "madpipe/gate/careful": ("minor", 1),
    }
    assert {finding["location"]["path"] for finding in findings} == {"models/pipeline.toml"}
    assert len({finding["fingerprint"] for finding in findings}) == len(findings)
    again = changed(judged, gates=[changed(gate, reason="other") for gate in judged.gates])
    second = json.loads(gitlab.code_quality(again, settings))
    assert [f["fingerprint"] for f in second] == [f["fingerprint"] for f in findings]


def test_what_passed_is_no_finding(report: Callable[..., Report], tmp_path: Path) -> None:
    assert json.loads(gitlab.code_quality(report(), tmp_path / "pipeline.toml")) == []


def test_a_failed_stage_blocks(failed: Callable[[str], Report], tmp_path: Path) -> None:
    (finding,) = json.loads(gitlab.code_quality(failed("oh"), tmp_path / "absent.toml"))
    assert (finding["severity"], finding["location"]["path"]) == ("blocker", "absent.toml")
    assert "oh" in finding["description"]


def test_metrics_are_gauges_in_the_text_form_of_openmetrics() -> None:
    lines = gitlab.metrics(figures_of(MEASURED)).splitlines()
    assert lines[-1] == "# EOF"
    assert lines[:3] == [
        "# TYPE madpipe_teacher_top1 gauge",
        "# HELP madpipe_teacher_top1 share of held-out images that the teacher gets right",
        f"madpipe_teacher_top1 {535 / 540!r}",
    ]
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) == len(figures_of(MEASURED))
    assert all(LINE.fullmatch(line) for line in samples)
    assert gitlab.metrics([]) == "# EOF\n"
