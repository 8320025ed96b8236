"""How much worse a run is than another, of each measure, in its own direction and with bounds."""

import math
from dataclasses import replace
from typing import Any

import pytest

from pipeline.gates.compare import compare
from pipeline.gates.estimates import table_estimate
from pipeline.gates.judge import Verdict
from pipeline.gates.measurements import Measurements
from pipeline.gates.measures import CHANGES, MEASURES, is_higher_better, unit
from pipeline.gates.pairs import ratio_of
from pipeline.gates.stored_runs import Run
from pipeline.settings import CompareGate
from tests.measurements import MEASURED, NOT_RUN, ON_THE_BANK, SAMPLES, accuracy, changed, ratio

N = 540
RIGHT = [0] * N


def run(measurements: Measurements = MEASURED, wrong: int = 0, **changes: Any) -> Run:
    """Return a run whose engine, ONNX file and student get so many of 540 images wrong."""
    predictions = [1] * wrong + [0] * (N - wrong)
    networks = ("student", "onnx", "graph", "engine")
    samples = changed(
        SAMPLES, labels=RIGHT, said={"teacher": RIGHT} | dict.fromkeys(networks, predictions)
    )
    shares = {name: accuracy(N - wrong) for name in networks} | {"teacher": accuracy(N)}
    kind = measurements.dataset.kind
    if kind == "bank":
        samples = changed(changed(samples, "set", kind="bank"), labels=None)
        shares = {}
    measured = changed(measurements, accuracy=shares if measurements.latency else {})
    host = {"cpu": "one", "cores": "2"}
    whole = Run(name="run", measurements=measured, samples=samples, teacher_sha256="t", host=host)
    return replace(whole, **changes)


def one(base: Run, head: Run, name: str, **bounds: Any) -> Verdict:
    (verdict,) = compare(base, head, {name: CompareGate(**bounds)})
    return verdict


def outcome(judged: Verdict) -> tuple[str, float | None]:
    value = judged.value
    return judged.verdict, None if value is None else round(value, 9)


def of_latency(**changes: Any) -> Run:
    return run(changed(MEASURED, "latency.batches.0", **changes))


def test_each_measure_of_a_run_has_a_change_that_can_be_bounded() -> None:
    assert set(MEASURES) - set(CHANGES) == {
        "student_top1_drop",
        "onnx_top1_drop",
        "graph_top1_drop",
        "engine_top1_drop",
        "student_top5_drop",
        "engine_top5_drop",
        "student_images_agreement",
        "engine_images_agreement",
    }


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_run_is_no_worse_than_itself(name: str) -> None:
    measured = ON_THE_BANK if "bank" in name else MEASURED
    tables = {"p50_ms": {"0.05": 0.09, "0.95": 0.11}, "p99_ms": {"0.05": 0.3, "0.95": 0.5}}
    measured = changed(measured, "latency.batches.0.engine", p99_ms=0.4, quantiles=tables)
    tables["p90_ms"] = {"0.05": 0.1, "0.95": 0.2}
    measured = changed(measured, "latency.batches.0.engine", quantiles=tables, p90_ms=0.15)
    same = run(measured)
    verdict = one(same, same, name, worse_absolute=1.0)
    if unit(name) == "images/s" or name.startswith("engine_first"):  # of six starts
        verdict = one(same, same, name, worse_relative=1.0)
    assert (verdict.verdict, verdict.value) == ("pass", 0), verdict.reason


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "pass"), (5, "inconclusive"), (40, "fail")])
@pytest.mark.parametrize("name", ["engine_top1", "student_top1", "onnx_top1", "student_agreement"])
def test_shares_are_paired_image_by_image(name: str, wrong: int, verdict: str) -> None:
    stored = changed(MEASURED, "agreement.student", hits=N - wrong, n=N)
    head = run(stored, wrong=wrong)
    judged = one(run(), head, name, worse_absolute=0.012)
    assert (judged.verdict, judged.value, judged.n) == (verdict, wrong / N, N)
    assert judged.name == f"{name}.worse_absolute"


def test_a_relative_loss_is_of_the_value_of_a() -> None:
    base, head = run(wrong=270), run(wrong=297)
    judged = one(base, head, "engine_top1", worse_relative=0.05)
    assert outcome(judged) == ("fail", 0.1)
    assert judged.reason.startswith("0.5 to 0.45, worse by 0.1 in [")


def test_agreement_on_the_bank_needs_the_same_bank_and_teacher() -> None:
    base = run(ON_THE_BANK)
    assert one(base, base, "engine_bank_agreement", worse_absolute=0.02).verdict == "pass"
    other = replace(base, samples=changed(base.samples, "set", id="5" * 64))
    judged = one(base, other, "engine_bank_agreement", worse_absolute=0.02)
    assert (judged.verdict, judged.reason[:27]) == ("skipped", "the two runs saw other imag")
    other = replace(base, teacher_sha256="u")
    judged = one(base, other, "engine_bank_agreement", worse_absolute=0.02)
    assert judged.reason.startswith("the teachers differ")
    judged = one(base, run(), "engine_bank_agreement", worse_absolute=0.02)
    assert judged.reason == "run measured no agreement of the engine on bank images"


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"worse_relative": 0.05}, "fail"),
        ({"worse_relative": 0.2}, "pass"),
        ({"worse_absolute": 100}, "pass"),
        ({"worse_absolute": 99}, "fail"),
        ({"worse_relative": 0, "direction": "higher-is-better"}, "pass"),
        ({"worse_absolute": 99, "direction": "no-change"}, "fail"),
        ({"worse_absolute": 101, "direction": "no-change"}, "pass"),
        ({"worse_absolute": -1}, "fail"),
    ],
)
def test_sizes_are_exact(bounds: dict[str, Any], verdict: str) -> None:
    larger = run(changed(MEASURED, engine_bytes=1100))
    assert one(run(), larger, "engine_bytes", **bounds).verdict == verdict


def test_a_gain_can_be_asked_for() -> None:
    smaller = run(changed(MEASURED, engine_bytes=800))
    judged = one(run(), smaller, "engine_bytes", worse_relative=-0.1)
    assert outcome(judged) == ("pass", -0.2)
    assert one(run(), smaller, "engine_bytes", worse_relative=-0.3).verdict == "fail"
    assert one(smaller, run(), "engine_bytes", worse_absolute=1, direction="no-change").reason == (
        "800 to 1000, changed by 200 in [200, 200], wanted at least -1 and at most 1, n = 1"
    )


def test_both_bounds_of_a_measure_are_judged() -> None:
    bounds = {"engine_bytes": CompareGate(worse_absolute=1, worse_relative=1, severity="warn")}
    verdicts = compare(run(), run(changed(MEASURED, engine_bytes=1500)), bounds)
    assert [(v.name, v.verdict, v.severity) for v in verdicts] == [
        ("engine_bytes.worse_absolute", "fail", "warn"),
        ("engine_bytes.worse_relative", "pass", "warn"),
    ]


def test_latency_is_taken_against_the_teacher_beside_it() -> None:
    """On a machine half as fast today, an engine twice as slow is no worse."""
    assert MEASURED.latency
    twice = changed(MEASURED.latency.headline.engine, p50_ms=0.2, p90_ms=1.4)
    twice = changed(twice, quantiles={"p50_ms": {"0.05": 0.19, "0.95": 0.21}})
    twice = changed(twice, "quantiles", p90_ms={"0.05": 1.36, "0.95": 1.46})
    teacher = changed(MEASURED.latency.headline.teacher, p50_ms=1.0)
    teacher = changed(teacher, quantiles={"p50_ms": {"0.05": 0.98, "0.95": 1.02}})
    head = of_latency(engine=twice, teacher=teacher)
    for name in ("engine_p50_ms", "engine_p90_ms", "engine_images_per_s"):
        judged = one(run(), head, name, worse_relative=0.2)
        assert outcome(judged) == ("pass", 0), judged.reason
        assert "(against the teacher beside it), worse by" in judged.reason
    slower = one(run(), of_latency(engine=twice), "engine_p90_ms", worse_relative=0.2)
    assert outcome(slower) == ("fail", 1.0)
    in_ms = one(run(), of_latency(engine=twice), "engine_p90_ms", worse_absolute=0.5)
    assert outcome(in_ms) == ("fail", 0.7)


def test_speed_ups_and_throughput_are_better_higher() -> None:
    slower = of_latency(speedup=ratio(2.5, 2.4, 2.6))
    for name in ("speedup", "engine_images_per_s"):
        judged = one(run(), slower, name, worse_relative=0.1)
        assert outcome(judged) == ("fail", 0.5), name
        assert one(slower, run(), name, worse_relative=0.1).verdict == "pass"
    judged = one(run(), slower, "engine_p50_ms", worse_relative=0.1)
    assert outcome(judged) == ("fail", 1.0)


def test_bounds_of_a_ratio_add_in_quadrature() -> None:
    estimates = [table_estimate(2.0, {"0.05": 1.98, "0.95": 2.02}, n, 0.95) for n in (9, 16, 25, 7)]
    ratio = ratio_of(estimates[:2], estimates[2:])
    assert (ratio.value, ratio.n) == (1.0, 7)
    assert math.log(ratio.bounds.high) == pytest.approx(2 * 0.01, rel=0.01)
    assert math.log(ratio.bounds.low) == pytest.approx(-2 * 0.01, rel=0.01)


def test_errors_of_two_calibrations_are_independent() -> None:
    worse = changed(MEASURED, "accuracy.engine.calibration", error=0.05)
    table = {"0.05": 0.04, "0.95": 0.06}
    worse = changed(worse, "accuracy.engine.calibration", quantiles=table)
    base, head = run(), replace(run(), measurements=worse)
    judged = one(base, head, "engine_calibration_error", worse_absolute=0.02)
    assert outcome(judged) == ("inconclusive", 0.03)
    assert judged.interval == pytest.approx((0.03 - 0.01 * 2**0.5, 0.03 + 0.01 * 2**0.5))
    assert judged.needed
    perfect = changed(MEASURED, "accuracy.engine.calibration", error=0)
    base = replace(run(), measurements=perfect)
    judged = one(base, head, "engine_calibration_error", worse_relative=0.02)
    assert judged.reason == "A's value is 0, of which nothing is a share"


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("engine_p50_ms", {"teacher_sha256": "u"}, "the teachers differ"),
        ("speedup", {"teacher_sha256": "u"}, "the teachers differ"),
        ("speedup", {"host": {"cpu": "two", "cores": "2"}}, "different machines (cpu"),
        ("engine_resident_bytes", {"host": {"cpu": "two", "cores": "2"}}, "different machines"),
        ("engine_p50_ms", {"measurements": NOT_RUN}, "run: not measured in this run: built for"),
        ("engine_p99_ms", {}, "run: the sample is too small to claim it"),
        ("graph_top1", {"samples": SAMPLES}, "run measured no accuracy of the graph"),
        ("engine_top1", {"measurements": NOT_RUN}, "stored predictions, but no such share"),
        ("engine_calibration_error", {"samples": SAMPLES}, "the two runs saw other images"),
        (
            "engine_resident_bytes",
            {"measurements": changed(MEASURED, "memory", engine_resident_bytes=None)},
            "run measured no engine_resident_bytes",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(name: str, changes: dict[str, Any], reason: str) -> None:
    base = run()
    if changes.get("samples") is SAMPLES:
        base = replace(base, samples=changed(base.samples, "set", id="6" * 64))
    judged = one(base, replace(base, **changes), name, worse_relative=0.5)
    assert judged.verdict == ("inconclusive" if name == "engine_p99_ms" else "skipped")
    assert reason in judged.reason


def test_runs_that_name_no_teacher_are_not_tied_by_one() -> None:
    unknown = run(teacher_sha256="")
    judged = one(unknown, unknown, "speedup", worse_relative=0.5)
    assert judged.reason == "neither run says which teacher it had"


def test_directions_are_those_of_the_quantities() -> None:
    assert [name for name in CHANGES if not is_higher_better(name)] == [
        "student_calibration_error",
        "engine_calibration_error",
        "engine_p50_ms",
        "engine_p90_ms",
        "engine_p99_ms",
        "engine_first_ms",
        "engine_first_cached_ms",
        "engine_bytes",
        "engine_resident_bytes",
        "process_peak_bytes",
    ]


def test_first_inferences_are_compared_on_one_machine_alone() -> None:
    slower = changed(
        MEASURED, "latency.first_inference", times_ms=tuple(90.0 + number for number in range(6))
    )
    assert one(run(), run(slower), "engine_first_ms", worse_relative=0.5).verdict == "fail"
    moved = run(slower, host={"cpu": "another", "cores": "2"})
    judged = one(run(), moved, "engine_first_ms", worse_relative=0.5)
    assert judged.verdict == "skipped"
    assert "different machines" in judged.reason
