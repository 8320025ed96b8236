"""What was not measured is told with its reason; turned measures have turned bounds."""

from typing import Any

import pytest

from pipeline.estimates import estimate, table_estimate, why_absent

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
    assert why_absent("engine_p99_ms", measured) == (
        "not measured in this run: the sample is too small to claim it, 459 calls would do "
        "(validate.pairs)"
    )


def test_accuracy_without_labelled_images_is_told_so(measured: Measured) -> None:
    bank = measured | {"accuracy": {}, "agreement": {}, "paired": {}}
    bank["bank_agreement"] = measured["agreement"]
    for name in ("student_top1", "engine_top1_drop", "student_agreement"):
        assert estimate(name, bank, 0.95) is None
        assert "no labelled images, only the bank" in why_absent(name, bank)
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
    assert told in why_absent(name, measured | change)


def test_top5_with_few_classes_and_a_teacher_without_engine_have_theirs(
    measured: Measured,
) -> None:
    for record in measured["accuracy"].values():
        del record["top5"]
    assert "5 classes or fewer" in why_absent("student_top5_drop", measured)
    assert "teacher_engine is off" in why_absent("speedup_same_backend", measured)
    measured["latency"]["teacher_engine_absent"] = "no luck"
    assert "no luck" in why_absent("speedup_same_backend", measured)


def test_more_samples_narrow_a_resampled_bound_as_their_root() -> None:
    found = table_estimate(5.0, {"0.05": 4.6, "0.95": 5.4}, 400, 0.95)
    assert found.with_samples is not None
    assert found.with_samples(4) == pytest.approx((4.8, 5.2))
