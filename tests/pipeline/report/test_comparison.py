"""A comparison as Markdown: its outcome, each bound, the figures of both runs."""

from dataclasses import replace

import pytest

from pipeline.gates.compare import compare
from pipeline.gates.stored_runs import Run
from pipeline.report import comparison
from pipeline.settings import CompareGate
from tests.measurements import MEASURED, SAMPLES, changed

RUN = Run(
    name="a",
    measurements=MEASURED,
    samples=SAMPLES,
    teacher_sha256="t" * 64,
    host={"cpu": "x"},
    revision="abc<",
)
LARGER = replace(RUN, measurements=changed(MEASURED, engine_bytes=1500))


@pytest.mark.parametrize(
    ("name", "gate", "outcome"),
    [
        ("engine_bytes", CompareGate(worse_relative=0.6), "pass"),
        ("engine_bytes", CompareGate(worse_relative=0.1), "fail"),
        ("engine_bytes", CompareGate(worse_relative=0.1, severity="warn"), "pass"),
        ("engine_p99_ms", CompareGate(worse_relative=0.1), "inconclusive"),
    ],
)
def test_the_outcome_comes_first(name: str, gate: CompareGate, outcome: str) -> None:
    verdicts = compare(RUN, LARGER, {name: gate})
    text = comparison.render(RUN, LARGER, verdicts)
    assert text.startswith(f"### madpipe: against the baseline: {outcome}\n")
    assert "revision abc&lt;." in text
    assert f"| {name}.worse_relative | " in text
    assert "| engine_bytes | 1000 | 1500 | +50.0% |" in text
    assert (
        "| engine_top1_drop | 0 (-0.004985 to 0.004985) | 0 (-0.004985 to 0.004985) | +0 |" in text
    )


def test_times_of_two_machines_have_no_change() -> None:
    moved = replace(LARGER, host={"cpu": "y"})
    lines = comparison.render(RUN, moved, []).splitlines()
    lines = [line for line in lines if line.startswith("| ")]
    changes = {line.split(" | ")[0][2:]: line.split(" | ")[-1] for line in lines}
    assert changes["engine_p50_ms"] == changes["engine_images_per_s"] == "another machine |"
    assert changes["engine_bytes"] == "+50.0% |"


def test_without_bounds_the_figures_are_there_all_the_same() -> None:
    text = comparison.render(RUN, LARGER, [])
    assert "baseline: nothing is bounded" in text
    assert "| engine_bytes | 1000 |" in text


def test_another_teacher_is_said() -> None:
    other = replace(RUN, teacher_sha256="")
    assert "The teachers differ (sha256 tttttttttttt in A, unknown in B)" in comparison.render(
        RUN, other, []
    )
    assert comparison.other_teachers(RUN, LARGER) == ""


def test_what_was_not_compared_says_why() -> None:
    text = comparison.not_compared("it is <old>;\nrun it")
    assert text == "### madpipe: against the baseline: not compared\n\nit is &lt;old>; run it\n"
