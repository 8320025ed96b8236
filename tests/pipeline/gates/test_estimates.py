"""What was not measured is told with its reason; turned measures have turned bounds."""

import math
from typing import Any

import pytest

from pipeline.gates.estimates import estimate, table_estimate, why_absent

Measured = dict[str, Any]


def test_throughput_is_that_of_the_largest_batch_with_its_bounds_turned(
    measured: Measured,
) -> None:
    batches = measured["latency"]["batches"]
    batches.append({**batches[0], "batch": 32})
    found = estimate("engine_images_per_s", measured, 0.95)
    assert found is not None
    assert found.value == pytest.approx(320_000)
    assert found.bounds == pytest.approx((32_000 / 0.11, 32_000 / 0.09))


def test_a_percentile_that_the_sample_cannot_support_is_told_with_the_count_that_would(
    measured: Measured,
) -> None:
    assert estimate("engine_p99_ms", measured, 0.95) is None
    absent = why_absent("engine_p99_ms", measured)
    assert absent.reason == (
        "the sample is too small to claim it, 459 calls would do (validate.pairs)"
    )
    assert absent.needed == 459


def test_accuracy_without_labelled_images_is_told_so(measured: Measured) -> None:
    bank = measured | {"accuracy": {}, "agreement": {}, "paired": {}}
    bank["bank_agreement"] = measured["agreement"]
    for name in ("student_top1", "engine_top1_drop", "student_agreement"):
        assert estimate(name, bank, 0.95) is None
        assert "no labelled images, only the bank" in why_absent(name, bank).reason
    found = estimate("engine_bank_agreement", bank, 0.95)
    assert found is not None
    assert found.value == 532 / 540


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        ({}, "student_bank_agreement", 'validate.images is "held-out"'),
        ({"engine_absent": "built for another machine"}, "engine_top1", "another machine"),
        ({"engine_absent": "built for another machine"}, "speedup", "another machine"),
    ],
)
def test_each_absence_has_its_reason(
    measured: Measured, change: Measured, name: str, told: str
) -> None:
    absent = why_absent(name, measured | change)
    assert told in absent.reason
    assert absent.is_elsewhere == bool(change)


def test_top5_with_few_classes_and_a_teacher_without_engine_have_theirs(
    measured: Measured,
) -> None:
    for record in measured["accuracy"].values():
        del record["top5"]
    assert "5 classes or fewer" in why_absent("student_top5_drop", measured).reason
    assert "teacher_engine is off" in why_absent("speedup_same_backend", measured).reason
    measured["latency"]["teacher_engine_absent"] = "no luck"
    assert "no luck" in why_absent("speedup_same_backend", measured).reason


def test_more_samples_narrow_a_resampled_bound_as_their_root() -> None:
    found = table_estimate(5.0, {"0.05": 4.6, "0.95": 5.4}, 400, 0.95)
    assert found.with_samples is not None
    assert found.with_samples(4) == pytest.approx((4.8, 5.2))
    assert not found.is_held


def test_what_one_process_carries_is_narrowed_by_no_number_of_its_calls() -> None:
    """The spread of 1 % alone reaches z * 0.01 on the logarithm, whatever the sample."""
    steady = 1.6449 * 0.01
    table = {"0.05": 5.0 * math.exp(-0.03), "0.95": 5.0 * math.exp(0.03)}
    found = table_estimate(5.0, table, 400, 0.95, spread=0.01)
    assert found.is_held
    assert found.with_samples is not None
    assert found.with_samples(1) == pytest.approx(found.bounds)
    most = found.with_samples(1e9)
    assert most == pytest.approx((5.0 * math.exp(-steady), 5.0 * math.exp(steady)), rel=1e-4)


def test_several_processes_assume_no_spread_and_are_themselves_the_samples() -> None:
    found = table_estimate(5.0, {"0.05": 4.6, "0.95": 5.4}, 400, 0.95, spread=0.01, processes=5)
    assert (found.processes, found.is_held) == (5, False)
    assert found.with_samples is not None
    assert found.with_samples(4) == pytest.approx((4.8, 5.2))
