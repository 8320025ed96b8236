"""Growth is seen, noise and a first rise are not taken for it."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.reliability import growth

BASE, NOISE = 9e8, 4e5
"""Of the memory of a real run, in bytes."""


def series(per_unit: float, *, count: int = 200, seed: int = 0) -> tuple[list[float], list[float]]:
    """Return units done and what was held, which wanders as the memory of a process does."""
    rng, held, done = np.random.default_rng(seed), 0.0, list[float]()
    values = []
    for number in range(count):
        held = 0.9 * held + rng.normal(0, NOISE)
        done.append(10 + number / 20)
        values.append(BASE + held + per_unit * done[-1])
    return done, values


@pytest.mark.parametrize("seed", range(20))
def test_growth_is_measured_within_its_interval(seed: int) -> None:
    grown = growth.slope(*series(3 * 2**20, seed=seed))
    assert grown.low < grown.per_unit < grown.high
    assert grown.low > 2**20


def test_the_interval_of_what_only_wanders_holds_nothing_as_often_as_it_should() -> None:
    slopes = [growth.slope(*series(0.0, seed=seed)) for seed in range(200)]
    missed = sum(not grown.low <= 0 <= grown.high for grown in slopes)
    assert missed < 0.15 * len(slopes)
    assert max(grown.high for grown in slopes) < 2**20


@pytest.mark.parametrize(
    ("done", "values", "wrong"),
    [([1.0] * 10, [1.0] * 10, "10 samples are too few"), ([1.0] * 64, [1.0] * 64, "nothing was")],
)
def test_too_little_gives_no_slope(done: list[float], values: list[float], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        growth.slope(done, values)


@pytest.mark.parametrize(
    ("values", "risen"),
    [
        ([3, 9, *[8] * 38], 0),  # it gets ready, then keeps its level
        ([8, 9, 8, 8] * 10, 0),  # a file is open for a moment now and then
        ([8 + number // 8 for number in range(40)], 3),  # one is left open now and then
        ([12] * 20 + [8] * 20, -4),
    ],
)
def test_a_level_that_stays_up_is_a_rise(values: Sequence[float], risen: float) -> None:
    assert growth.rise(values) == risen


def test_what_does_not_change_has_no_slope_and_an_interval() -> None:
    assert growth.slope([float(i) for i in range(40)], [5.0] * 40) == growth.Slope(0.0, 0.0, 0.0)


def test_too_few_samples_have_no_level() -> None:
    with pytest.raises(ValueError, match="3 samples are too few"):
        growth.rise([1, 2, 3])
