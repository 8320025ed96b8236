"""GitHub gets one annotation for each trouble, escaped, and the report as the step's summary."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.report import github
from pipeline.report.records import Report
from tests.measurements import changed

Make = Callable[..., Report]


def test_gates_that_did_not_pass_are_annotated_by_how_bad_it_is(report: Make) -> None:
    judged = report("gates={}", "gates.speedup.min=50", "gates.student_top1_drop.max=0.0085")
    careful = changed(judged.gates[0], name="careful", severity="warn")
    judged = changed(judged, gates=[*judged.gates, careful])
    lines = github.annotations(judged)
    assert [line.partition("::")[2].partition("::")[0] for line in lines] == [
        "error title=madpipe%3A speedup fail",
        "warning title=madpipe%3A student_top1_drop inconclusive",
        "warning title=madpipe%3A careful fail",
    ]


def test_a_report_in_which_all_passed_has_no_annotation(report: Make) -> None:
    assert github.annotations(report()) == []


def test_texts_of_a_failed_stage_are_escaped(failed: Callable[[str], Report]) -> None:
    (line,) = github.annotations(failed("50 %\n::error::forged ##[error]forged"))
    assert line.startswith("::error title=madpipe%3A stage distill failed::")
    assert "\n" not in line
    assert "50 %25" in line
    assert "##[" not in line


def test_outside_of_a_workflow_nothing_is_written(
    report: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    github.publish(report("gates.speedup.min=50"))
    assert capsys.readouterr() == ("", "")


def test_within_a_workflow_the_summary_is_appended_to(
    report: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    github.publish(report("gates.speedup.min=50"))
    assert summary.read_text(encoding="utf-8").startswith("before\n<!-- madpipe report -->\n")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("::error title=madpipe%3A speedup fail::5 in [4.6, 5.4]")


def test_a_summary_that_cannot_be_written_is_a_line_and_no_failure(
    report: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/no/such/folder/summary.md")
    github.publish(report())
    assert "check GITHUB_STEP_SUMMARY" in capsys.readouterr().err


def test_real_images_are_annotated(on_unlabelled: Report) -> None:
    (line,) = github.annotations(on_unlabelled)
    begin = "::notice title=madpipe%3A real images::not data-free: the student learned from 80 "
    assert line.startswith(begin)
