"""The report in one word, what failed before what could not be decided; and as JSON."""

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest

from pipeline.gates.judge import Outcome, Verdict
from pipeline.project import Project
from pipeline.report import html, junit, markdown, records
from pipeline.report.document import document
from pipeline.report.records import Report, RunSummary, StageReport
from pipeline.run_pipeline import run_pipeline
from tests.measurements import changed

RENDERERS = {
    "html": html.render,
    "json": records.to_json,
    "junit": junit.render,
    "markdown": markdown.render,
}


def judged(*verdicts: Outcome, status: Literal["ran", "failed"] = "ran") -> Report:
    """Return the report of a run of one stage with some verdicts."""
    stage = StageReport(
        name="distill", status=status, key=None, seconds=1, elapsed_s=1, metrics={}, outputs={}
    )
    return Report(
        run=RunSummary(command="run", started_utc="", elapsed_s=1),
        stages=(stage,),
        gates=tuple(
            Verdict(name=f"g{number}", verdict=verdict) for number, verdict in enumerate(verdicts)
        ),
    )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), ("none", "nothing was judged in this run")),
        (("pass", "pass"), ("pass", "2 of 2 gates passed")),
        (("pass", "skipped"), ("inconclusive", "g1 (not measured)")),
        (("skipped", "inconclusive", "fail"), ("fail", "g2")),
        (("pass", "inconclusive"), ("inconclusive", "g1")),
        (("inconclusive", "fail", "fail"), ("fail", "g1, g2")),
    ],
)
def test_worst_verdict_is_the_whole_verdict(
    verdicts: tuple[Outcome, ...], expected: tuple[str, str]
) -> None:
    assert judged(*verdicts).verdict == expected


def test_failed_stage_comes_before_every_gate() -> None:
    assert judged("pass", status="failed").verdict == ("fail", "stage distill failed")


def test_report_in_which_every_gate_was_skipped_did_not_pass() -> None:
    assert judged("skipped", "skipped").verdict[0] != "pass"


def test_a_gate_that_waits_for_the_engines_gpu_is_named_and_excused() -> None:
    report = changed(judged("pass", "skipped"), "gates.1", is_elsewhere=True)
    assert report.verdict == ("pass", "1 of 2 gates passed, 1 wait for the engine's GPU")


def test_gate_that_only_warns_does_not_decide_but_is_named() -> None:
    report = changed(judged("pass", "fail"), "gates.1", severity="warn")
    assert report.verdict == ("pass", "1 of 2 gates passed, warned of g1")


def test_a_record_that_is_absent_is_an_empty_object_in_the_json() -> None:
    report: dict[str, Any] = json.loads(records.to_json(judged("pass")))
    assert (report["set"], report["memory"], report["engine"]) == ({}, {}, {})
    latency = report["latency"]
    assert (latency["teacher"], latency["engine"], latency["speedup"]) == ({}, {}, {})
    assert (latency["conditions"], latency["threads"]) == ({}, None)


@pytest.mark.parametrize("form", RENDERERS)
def test_failed_run_has_every_form_with_its_reason(
    failed: Callable[[str], Report], form: str
) -> None:
    text = RENDERERS[form](failed("no luck"))
    assert "distill" in text
    assert "no luck" in text


@pytest.mark.parametrize("form", RENDERERS)
def test_run_without_measurements_has_every_form(
    project: Callable[..., Project], form: str
) -> None:
    opened = project()
    run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    assert "distill" in RENDERERS[form](document(opened)) or form == "junit"
