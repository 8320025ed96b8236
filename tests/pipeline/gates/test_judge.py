"""A gate passes, fails, or cannot decide and names what would."""

import pytest

from pipeline.gates.judge import Outcome, Verdict, exit_code, judge
from pipeline.gates.measurements import Measurements
from pipeline.settings import Gate
from tests.measurements import MEASURED, NOT_RUN, changed


def one(name: str, gate: Gate, measurements: Measurements = MEASURED) -> Verdict:
    (verdict,) = judge(measurements, {name: gate})
    return verdict


def test_nothing_lost_of_540_passes_a_half_percent() -> None:
    verdict = one("engine_top1_drop", Gate(max=0.005))
    assert (verdict.verdict, verdict.value, verdict.threshold) == ("pass", 0.0, 0.005)
    assert verdict.interval is not None
    assert round(verdict.interval[1], 6) == 0.004985
    assert verdict.reason == "0 in [-0.004985, 0.004985], wanted at most 0.005, n = 540"


def test_nothing_lost_of_538_cannot_pass_a_half_percent() -> None:
    measured = changed(MEASURED, "paired.engine", n=538)
    assert one("engine_top1_drop", Gate(max=0.005), measured).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("maximum", "verdict"), [(0.05, "pass"), (0.0075, "inconclusive"), (-0.001, "fail")]
)
def test_largest_drop_has_three_verdicts(maximum: float, verdict: str) -> None:
    assert one("student_top1_drop", Gate(max=maximum)).verdict == verdict


@pytest.mark.parametrize(
    ("minimum", "verdict"),
    [(4.0, "pass"), (4.6, "pass"), (4.61, "inconclusive"), (5.4, "inconclusive"), (5.41, "fail")],
)
def test_least_speedup_has_three_verdicts_and_its_bounds_count_as_within(
    minimum: float, verdict: str
) -> None:
    assert one("speedup", Gate(min=minimum)).verdict == verdict


@pytest.mark.parametrize(("size", "verdict"), [(999, "fail"), (1000, "pass"), (1001, "pass")])
def test_size_is_known_exactly_and_never_inconclusive(size: int, verdict: str) -> None:
    assert one("engine_bytes", Gate(max=size)).verdict == verdict


@pytest.mark.parametrize(
    ("gate", "verdict", "threshold"),
    [
        (Gate(min=4.0, max=6.0), "pass", 6.0),
        (Gate(min=5.5, max=6.0), "fail", 5.5),
        (Gate(min=4.0, max=4.5), "fail", 4.5),
        (Gate(min=5.0, max=6.0), "inconclusive", 6.0),
    ],
)
def test_gate_with_two_bounds_wants_both(gate: Gate, verdict: str, threshold: float) -> None:
    judged = one("speedup", gate)
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
def test_a_measure_has_the_value_that_was_measured(name: str, value: float, n: int) -> None:
    verdict = one(name, Gate(min=0.0))
    assert verdict.value == pytest.approx(value)
    assert verdict.reason.endswith(f"n = {n}") or f"n = {n}:" in verdict.reason


@pytest.mark.parametrize("name", ["speedup", "engine_top1_drop", "student_top1"])
def test_what_was_not_measured_is_skipped(name: str) -> None:
    nothing = changed(MEASURED, accuracy={}, agreement={}, paired={}, latency=None)
    verdict = one(name, Gate(max=1.0), nothing)
    assert (verdict.verdict, verdict.value, verdict.interval) == ("skipped", None, None)
    assert (verdict.name, verdict.threshold) == (name, 1.0)
    assert verdict.reason == "not measured in this run"


def test_a_margin_is_the_largest_drop_that_passes() -> None:
    verdict = one("student_top1_drop", Gate(margin=0.05))
    assert (verdict.verdict, verdict.threshold) == ("pass", 0.05)


def test_a_verdict_holds_confidence_samples_and_what_would_decide() -> None:
    verdict = one("student_top1_drop", Gate(max=0.0085, confidence=0.9))
    assert (verdict.verdict, verdict.confidence, verdict.n) == ("inconclusive", 0.9, 540)
    assert verdict.needed is not None
    assert verdict.needed > 540
    assert f"about {verdict.needed} samples" in verdict.reason


def test_a_gate_that_only_warns_never_decides_the_exit_code() -> None:
    gates = {"speedup": Gate(min=50, severity="warn"), "engine_bytes": Gate(max=1e9)}
    verdicts = judge(MEASURED, gates)
    assert [(verdict.verdict, verdict.severity) for verdict in verdicts] == [
        ("fail", "warn"),
        ("pass", "error"),
    ]
    assert exit_code(verdicts) == 0


@pytest.mark.parametrize(
    ("lost", "gained", "n", "maximum"),
    [(50, 10, 5400, 0.0085), (60, 20, 1000, 0.045), (1, 0, 540, 0.005), (0, 0, 300, 0.005)],
)
def test_number_of_samples_that_would_decide_does_decide(
    lost: int, gained: int, n: int, maximum: float
) -> None:
    measured = changed(MEASURED, "paired.engine", lost=lost, gained=gained, n=n)
    verdict = one("engine_top1_drop", Gate(max=maximum), measured)
    assert verdict.verdict == "inconclusive"
    assert verdict.reason.endswith(" samples would decide it")
    needed = int(verdict.reason.rpartition("about ")[2].partition(" ")[0])
    # As many samples as it names and a quarter more, since it says "about", in the same shares.
    factor = 1.25 * needed / n
    more = {"lost": round(lost * factor), "gained": round(gained * factor)}
    measured = changed(MEASURED, "paired.engine", n=round(n * factor), **more)
    assert one("engine_top1_drop", Gate(max=maximum), measured).verdict == "pass"


def test_value_on_its_bound_is_too_close_to_decide() -> None:
    verdict = one("student_top1_drop", Gate(max=4 / 540))
    assert verdict.reason.endswith("too close to decide")


def test_more_confidence_makes_a_pass_inconclusive() -> None:
    gate = Gate(max=0.005, confidence=0.99)
    assert one("engine_top1_drop", gate).verdict == "inconclusive"


def test_verdicts_come_in_the_order_of_the_settings() -> None:
    gates = {"speedup": Gate(min=1.0), "engine_bytes": Gate(max=1.0)}
    assert [verdict.name for verdict in judge(MEASURED, gates)] == ["speedup", "engine_bytes"]


def test_speedup_is_judged_at_batch_size_1_wherever_it_stands() -> None:
    assert MEASURED.latency is not None
    (batch,) = MEASURED.latency.batches
    large = changed(changed(batch, batch=32), "speedup", median=9)
    measured = changed(MEASURED, "latency", batches=[large, batch])
    assert one("speedup", Gate(min=1.0), measured).value == 5.0
    assert measured.latency is not None
    assert measured.latency.headline.batch == 1


def test_without_batch_size_1_the_first_is_judged() -> None:
    measured = changed(MEASURED, "latency.batches.0", batch=8)
    assert one("speedup", Gate(min=1.0), measured).value == 5.0


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
def test_worst_verdict_decides_the_exit_code(outcomes: list[Outcome], code: int) -> None:
    verdicts = [Verdict(name="x", verdict=outcome) for outcome in outcomes]
    assert exit_code(verdicts) == code


def test_a_gate_on_an_engine_for_elsewhere_is_excused_and_no_other() -> None:
    assert exit_code([Verdict(name="x", verdict="skipped", is_elsewhere=True)]) == 0
    verdict = one("speedup", Gate(min=1.0), NOT_RUN)
    assert (verdict.verdict, verdict.is_elsewhere) == ("skipped", True)
    assert not one("student_top1", Gate(min=1.0), NOT_RUN).is_elsewhere


@pytest.mark.parametrize(
    ("verdict", "is_open", "is_unmet"),
    [
        (Verdict(name="x", verdict="pass"), False, False),
        (Verdict(name="x", verdict="fail"), False, True),
        (Verdict(name="x", verdict="inconclusive"), True, True),
        (Verdict(name="x", verdict="skipped"), True, True),
        (Verdict(name="x", verdict="skipped", is_elsewhere=True), False, False),
    ],
)
def test_a_gate_is_open_that_was_to_decide_and_did_not(
    verdict: Verdict, *, is_open: bool, is_unmet: bool
) -> None:
    assert (verdict.is_open, verdict.is_unmet) == (is_open, is_unmet)


def test_a_percentile_that_the_sample_cannot_support_is_inconclusive() -> None:
    verdict = one("engine_p99_ms", Gate(max=5.0))
    assert (verdict.verdict, verdict.value, verdict.needed) == ("inconclusive", None, 459)
    assert exit_code([verdict]) == 4


def test_a_latency_too_close_for_one_process_asks_for_processes() -> None:
    speedup = "latency.batches.0.speedup"
    table = {"0.05": 1.012 * 0.98, "0.95": 1.012 * 1.02}
    measured = changed(MEASURED, speedup, median=1.012, quantiles=table, spread=0.01)
    verdict = one("speedup", Gate(min=1.0), measured)
    assert (verdict.verdict, verdict.needed) == ("inconclusive", None)
    assert verdict.reason.endswith("more processes may (validate.processes)")
    verdict = one("speedup", Gate(min=1.0), changed(measured, speedup, processes=5))
    assert verdict.needed is not None
    assert 5 < verdict.needed < 50
    assert f"about {verdict.needed} processes would decide it" in verdict.reason


def test_inconclusive_can_count_as_passed_but_a_failure_cannot() -> None:
    unsure = Verdict(name="x", verdict="inconclusive")
    failed = Verdict(name="x", verdict="fail")
    assert exit_code([unsure], 0) == 0
    assert exit_code([unsure, failed], 0) == 3
