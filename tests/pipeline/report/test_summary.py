"""The report in one word: what failed before what could not be decided."""

from typing import Any

import pytest

from pipeline.report.summary import overall


def report(*verdicts: str, status: str = "ran") -> dict[str, Any]:
    gates = [{"name": f"g{number}", "verdict": each} for number, each in enumerate(verdicts)]
    return {"stages": [{"name": "distill", "status": status}], "gates": gates}


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
    verdicts: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert overall(report(*verdicts)) == expected


def test_failed_stage_comes_before_every_gate() -> None:
    assert overall(report("pass", status="failed")) == ("fail", "stage distill failed")


def test_report_in_which_every_gate_was_skipped_did_not_pass() -> None:
    assert overall(report("skipped", "skipped"))[0] != "pass"


def test_a_gate_that_waits_for_the_engines_gpu_is_told_and_excused() -> None:
    made = report("pass", "skipped")
    made["gates"][1]["is_elsewhere"] = True
    assert overall(made) == ("pass", "1 of 2 gates passed, 1 wait for the engine's GPU")


def test_gate_that_only_warns_does_not_decide_but_is_named() -> None:
    made = report("pass", "fail")
    made["gates"][1]["severity"] = "warn"
    assert overall(made) == ("pass", "1 of 2 gates passed, warned of g1")
