"""What was not measured has its reason; an inverted measure has inverted bounds."""

import math
from typing import Any

import pytest

from pipeline.gates.estimates import estimate, table_estimate, why_absent
from pipeline.gates.intervals import share_bounds
from tests.measurements import MEASURED, ON_THE_BANK, ON_UNLABELLED, changed


def test_throughput_is_that_of_the_largest_batch_with_its_bounds_inverted() -> None:
    assert MEASURED.latency is not None
    (batch,) = MEASURED.latency.batches
    measured = changed(MEASURED, "latency", batches=[batch, changed(batch, batch=32)])
    throughput = estimate("engine_images_per_s", measured, 0.95)
    assert throughput is not None
    assert throughput.value == pytest.approx(320_000)
    assert throughput.bounds == pytest.approx((32_000 / 0.11, 32_000 / 0.09))


def test_a_percentile_that_the_sample_cannot_support_names_the_count_that_would() -> None:
    assert estimate("engine_p99_ms", MEASURED, 0.95) is None
    absent = why_absent("engine_p99_ms", MEASURED)
    assert absent.reason == (
        "the sample is too small to claim it, 459 calls would do (validate.pairs)"
    )
    assert absent.needed == 459


def test_accuracy_without_labelled_images_is_absent_for_that_reason() -> None:
    for name in ("student_top1", "engine_top1_drop", "student_agreement"):
        assert estimate(name, ON_THE_BANK, 0.95) is None
        assert "no labelled images, only the bank" in why_absent(name, ON_THE_BANK).reason
    agreement = estimate("engine_bank_agreement", ON_THE_BANK, 0.95)
    assert agreement is not None
    assert agreement.value == 532 / 540


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({}, "student_bank_agreement", 'validate.images is "held-out"'),
        ({}, "engine_images_agreement", "there are no unlabelled images"),
        ({}, "graph_top1_drop", "build.targets is empty"),
        ({"graph_absent": "no kernels"}, "graph_top1_drop", "no kernels"),
        ({"engine_absent": "built for another machine"}, "engine_top1", "another machine"),
        ({"engine_absent": "built for another machine"}, "speedup", "another machine"),
    ],
)
def test_an_absent_measure_has_its_reason(changes: dict[str, Any], name: str, reason: str) -> None:
    absent = why_absent(name, changed(MEASURED, **changes))
    assert reason in absent.reason
    assert absent.is_elsewhere == ("engine_absent" in changes)


def test_top5_with_few_classes_and_a_teacher_without_engine_have_theirs() -> None:
    measured = changed(MEASURED, "paired.student", top5_lost=None, top5_gained=None)
    assert estimate("student_top5_drop", measured, 0.95) is None
    assert "5 classes or fewer" in why_absent("student_top5_drop", measured).reason
    measured = changed(MEASURED, "latency.batches.0", speedup_same_backend=None)
    assert estimate("speedup_same_backend", measured, 0.95) is None
    assert "teacher_engine is off" in why_absent("speedup_same_backend", measured).reason
    measured = changed(measured, "latency", teacher_engine_absent="no luck")
    assert "no luck" in why_absent("speedup_same_backend", measured).reason


def test_more_samples_narrow_a_resampled_bound_as_their_root() -> None:
    measured = table_estimate(5.0, {"0.05": 4.6, "0.95": 5.4}, 400, 0.95)
    assert measured.with_samples is not None
    assert measured.with_samples(4) == pytest.approx((4.8, 5.2))
    assert not measured.is_held


def test_what_one_process_carries_is_narrowed_by_no_number_of_its_calls() -> None:
    """The spread of 1 % alone reaches z * 0.01 on the logarithm, whatever the sample."""
    steady = 1.6449 * 0.01
    table = {"0.05": 5.0 * math.exp(-0.03), "0.95": 5.0 * math.exp(0.03)}
    measured = table_estimate(5.0, table, 400, 0.95, spread=0.01)
    assert measured.is_held
    assert measured.with_samples is not None
    assert measured.with_samples(1) == pytest.approx(measured.bounds)
    most = measured.with_samples(1e9)
    assert most == pytest.approx((5.0 * math.exp(-steady), 5.0 * math.exp(steady)), rel=1e-4)


def test_several_processes_assume_no_spread_and_are_themselves_the_samples() -> None:
    measured = table_estimate(5.0, {"0.05": 4.6, "0.95": 5.4}, 400, 0.95, spread=0.01, processes=5)
    assert (measured.processes, measured.is_held) == (5, False)
    assert measured.with_samples is not None
    assert measured.with_samples(4) == pytest.approx((4.8, 5.2))


def test_agreement_on_unlabelled_images_is_a_share_with_its_interval() -> None:
    agreement = estimate("engine_images_agreement", ON_UNLABELLED, 0.95)
    assert agreement is not None
    assert (agreement.value, agreement.n) == (0.85, 20)
    assert agreement.bounds == share_bounds(17, 20, 0.95)


def test_the_time_to_the_first_inference_is_bounded_by_its_own_values() -> None:
    first = estimate("engine_first_ms", MEASURED, 0.95)
    assert first is not None
    assert (first.value, first.n) == (21.5, 6)
    assert (first.bounds.low, first.bounds.high) == (20.0, 30.0)
    cached = estimate("engine_first_cached_ms", MEASURED, 0.95)
    assert cached is not None
    assert cached.value == 8.5


def test_too_few_processes_for_a_confidence_say_how_many_would_do() -> None:
    assert estimate("engine_first_ms", MEASURED, 0.99) is None
    absent = why_absent("engine_first_ms", MEASURED, 0.99)
    assert absent.needed == 7
    assert "6 processes bound no median with a confidence of 0.99, 7 would do" in absent.reason


def test_a_first_inference_that_was_not_measured_says_why() -> None:
    off = changed(MEASURED, "latency", first_inference=None)
    assert "validate.first_runs is 0" in why_absent("engine_first_ms", off).reason
    uncached = changed(MEASURED, "latency.first_inference", cached_times_ms=[])
    reason = why_absent("engine_first_cached_ms", uncached).reason
    assert "no kernels were kept by this runtime" in reason
