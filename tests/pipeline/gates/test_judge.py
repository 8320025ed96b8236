"""A gate passes, fails, or says that it cannot decide and what would."""

from typing import Any

import pytest

from pipeline.gates.judge import Verdict, exit_code, headline_batch, judge
from pipeline.settings import Gate

Measured = dict[str, Any]


def one(measured: Measured, name: str, gate: Gate) -> Verdict:
    (verdict,) = judge(measured, {name: gate})
    return verdict


def test_nothing_lost_of_540_passes_a_half_percent(measured: Measured) -> None:
    verdict = one(measured, "engine_top1_drop", Gate(max=0.005))
    assert (verdict.verdict, verdict.value, verdict.threshold) == ("pass", 0.0, 0.005)
    assert verdict.interval is not None
    assert round(verdict.interval[1], 6) == 0.004985
    assert verdict.reason == "0 in [-0.004985, 0.004985], wanted at most 0.005, n = 540"


def test_nothing_lost_of_538_cannot_pass_a_half_percent(measured: Measured) -> None:
    measured["paired"]["engine"] |= {"n": 538}
    assert one(measured, "engine_top1_drop", Gate(max=0.005)).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("maximum", "verdict"), [(0.05, "pass"), (0.0075, "inconclusive"), (-0.001, "fail")]
)
def test_largest_drop_has_three_verdicts(measured: Measured, maximum: float, verdict: str) -> None:
    assert one(measured, "student_top1_drop", Gate(max=maximum)).verdict == verdict


@pytest.mark.parametrize(
    ("minimum", "verdict"),
    [(4.0, "pass"), (4.6, "pass"), (4.61, "inconclusive"), (5.4, "inconclusive"), (5.41, "fail")],
)
def test_least_speedup_has_three_verdicts_and_its_bounds_count_as_within(
    measured: Measured, minimum: float, verdict: str
) -> None:
    assert one(measured, "speedup", Gate(min=minimum)).verdict == verdict


@pytest.mark.parametrize(("size", "verdict"), [(999, "fail"), (1000, "pass"), (1001, "pass")])
def test_size_is_known_exactly_and_never_inconclusive(
    measured: Measured, size: int, verdict: str
) -> None:
    assert one(measured, "engine_bytes", Gate(max=size)).verdict == verdict


@pytest.mark.parametrize(
    ("gate", "verdict", "threshold"),
    [
        (Gate(min=4.0, max=6.0), "pass", 6.0),
        (Gate(min=5.5, max=6.0), "fail", 5.5),
        (Gate(min=4.0, max=4.5), "fail", 4.5),
        (Gate(min=5.0, max=6.0), "inconclusive", 6.0),
    ],
)
def test_gate_with_two_bounds_wants_both(
    measured: Measured, gate: Gate, verdict: str, threshold: float
) -> None:
    judged = one(measured, "speedup", gate)
    assert (judged.verdict, judged.threshold) == (verdict, threshold)


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("teacher_top1", 535 / 540, 540),
        ("student_top1", 531 / 540, 540),
        ("engine_top1", 531 / 540, 540),
        ("student_top1_drop", 4 / 540, 540),
        ("onnx_top1_drop", 0.0, 540),
        ("student_agreement", 532 / 540, 540),
        ("engine_agreement", 532 / 540, 540),
        ("speedup", 5.0, 400),
        ("engine_p50_ms", 0.1, 400),
        ("speedup_same_backend", 2.0, 400),
        ("engine_p90_ms", 0.7, 400),
        ("engine_images_per_s", 10_000, 400),
        ("engine_bytes", 1000, 1),
        ("student_top5_drop", 0.0, 540),
        ("engine_calibration_error", 0.02, 540),
    ],
)
def test_every_measure_is_found_in_what_was_measured(
    measured: Measured, name: str, value: float, n: int
) -> None:
    verdict = one(measured, name, Gate(min=0.0))
    assert verdict.value == pytest.approx(value)
    assert verdict.reason.endswith(f"n = {n}") or f"n = {n}:" in verdict.reason


@pytest.mark.parametrize("name", ["speedup", "engine_top1_drop", "engine_bytes", "student_top1"])
def test_what_was_not_measured_is_skipped(name: str) -> None:
    verdict = one({}, name, Gate(max=1.0))
    assert verdict[:5] == (name, "skipped", None, None, 1.0)
    assert verdict.reason == "not measured in this run"


def test_a_margin_is_the_largest_drop_that_passes(measured: Measured) -> None:
    verdict = one(measured, "student_top1_drop", Gate(margin=0.05))
    assert (verdict.verdict, verdict.threshold) == ("pass", 0.05)


def test_a_verdict_tells_confidence_samples_and_what_would_decide(measured: Measured) -> None:
    verdict = one(measured, "student_top1_drop", Gate(max=0.0085, confidence=0.9))
    assert (verdict.verdict, verdict.confidence, verdict.n) == ("inconclusive", 0.9, 540)
    assert verdict.needed is not None
    assert verdict.needed > 540
    assert f"about {verdict.needed} samples" in verdict.reason


def test_a_gate_that_only_warns_never_decides_the_exit_code(measured: Measured) -> None:
    gates = {"speedup": Gate(min=50, severity="warn"), "engine_bytes": Gate(max=1e9)}
    verdicts = judge(measured, gates)
    assert [(each.verdict, each.severity) for each in verdicts] == [
        ("fail", "warn"),
        ("pass", "error"),
    ]
    assert exit_code(verdicts) == 0


@pytest.mark.parametrize(
    ("lost", "gained", "n", "maximum"),
    [(50, 10, 5400, 0.0085), (60, 20, 1000, 0.045), (1, 0, 540, 0.005), (0, 0, 300, 0.005)],
)
def test_number_of_samples_that_would_decide_does_decide(
    measured: Measured, lost: int, gained: int, n: int, maximum: float
) -> None:
    paired = measured["paired"]["engine"]
    paired |= {"lost": lost, "gained": gained, "n": n}
    verdict = one(measured, "engine_top1_drop", Gate(max=maximum))
    assert verdict.verdict == "inconclusive"
    assert verdict.reason.endswith(" samples would decide it")
    needed = int(verdict.reason.rpartition("about ")[2].partition(" ")[0])
    # As many samples as it says and a quarter more, since it says "about", in the same shares.
    factor = 1.25 * needed / n
    paired |= {"lost": round(lost * factor), "gained": round(gained * factor)}
    paired["n"] = round(n * factor)
    assert one(measured, "engine_top1_drop", Gate(max=maximum)).verdict == "pass"


def test_value_on_its_bound_is_too_close_to_decide(measured: Measured) -> None:
    verdict = one(measured, "student_top1_drop", Gate(max=4 / 540))
    assert verdict.reason.endswith("too close to decide")


def test_more_confidence_makes_a_pass_inconclusive(measured: Measured) -> None:
    gate = Gate(max=0.005, confidence=0.99)
    assert one(measured, "engine_top1_drop", gate).verdict == "inconclusive"


def test_verdicts_come_in_the_order_of_the_settings(measured: Measured) -> None:
    gates = {"speedup": Gate(min=1.0), "engine_bytes": Gate(max=1.0)}
    assert [each.name for each in judge(measured, gates)] == ["speedup", "engine_bytes"]


def test_speedup_is_judged_at_batch_size_1_wherever_it_stands(measured: Measured) -> None:
    batches = measured["latency"]["batches"]
    batches.insert(0, batches[0] | {"batch": 32, "speedup": batches[0]["speedup"] | {"median": 9}})
    assert one(measured, "speedup", Gate(min=1.0)).value == 5.0
    batch = headline_batch(measured)
    assert batch is not None
    assert batch["batch"] == 1


def test_without_batch_size_1_the_first_is_judged(measured: Measured) -> None:
    measured["latency"]["batches"][0]["batch"] = 8
    assert one(measured, "speedup", Gate(min=1.0)).value == 5.0


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["pass", "skipped"], 4),
        (["pass", "inconclusive"], 4),
        (["skipped", "fail"], 3),
        (["inconclusive", "fail", "pass"], 3),
    ],
)
def test_worst_verdict_decides_the_exit_code(outcomes: list[Any], code: int) -> None:
    verdicts = [Verdict("x", each, None, None, None, "") for each in outcomes]
    assert exit_code(verdicts) == code


def test_a_gate_on_an_engine_for_elsewhere_is_excused_and_no_other() -> None:
    elsewhere = Verdict("x", "skipped", None, None, None, "", is_elsewhere=True)
    assert exit_code([elsewhere]) == 0
    absent = {"engine_absent": "built for sm89 and not run"}
    verdict = one(absent, "speedup", Gate(min=1.0))
    assert (verdict.verdict, verdict.is_elsewhere) == ("skipped", True)
    assert not one(absent, "student_top1", Gate(min=1.0)).is_elsewhere


def test_a_percentile_that_the_sample_cannot_support_is_inconclusive(measured: Measured) -> None:
    verdict = one(measured, "engine_p99_ms", Gate(max=5.0))
    assert (verdict.verdict, verdict.value, verdict.needed) == ("inconclusive", None, 459)
    assert exit_code([verdict]) == 4


def test_a_latency_too_close_for_one_process_asks_for_processes(measured: Measured) -> None:
    ratio = measured["latency"]["batches"][0]["speedup"]
    table = {"0.05": 1.012 * 0.98, "0.95": 1.012 * 1.02}
    ratio |= {"median": 1.012, "quantiles": table, "spread": 0.01}
    verdict = one(measured, "speedup", Gate(min=1.0))
    assert (verdict.verdict, verdict.needed) == ("inconclusive", None)
    assert verdict.reason.endswith("more processes may (validate.processes)")
    ratio |= {"processes": 5}
    verdict = one(measured, "speedup", Gate(min=1.0))
    assert verdict.needed is not None
    assert 5 < verdict.needed < 50
    assert f"about {verdict.needed} processes would decide it" in verdict.reason


def test_inconclusive_can_be_taken_as_passed_but_a_failure_cannot() -> None:
    unsure = Verdict("x", "inconclusive", None, None, None, "")
    failed = Verdict("x", "fail", None, None, None, "")
    assert exit_code([unsure], 0) == 0
    assert exit_code([unsure, failed], 0) == 3
