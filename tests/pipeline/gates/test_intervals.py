"""Confidence bounds agree with published numbers and with an independent calculation."""

import math

import numpy as np
import pytest

from pipeline.gates.intervals import (
    drop_bounds,
    fewest_for_median,
    median_bounds,
    normal_quantile,
    share_bounds,
    table_bounds,
)


@pytest.mark.parametrize(
    ("confidence", "z"), [(0.5, 0.0), (0.95, 1.6448536), (0.975, 1.959964), (0.99, 2.3263479)]
)
def test_quantile_is_that_of_the_normal_tables(confidence: float, z: float) -> None:
    assert normal_quantile(confidence) == pytest.approx(z, abs=1e-7)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_share_bounds_agree_with_published_intervals(
    hits: int, n: int, low: float, high: float
) -> None:
    assert share_bounds(hits, n, 0.975) == pytest.approx((low, high), abs=5e-5)


def test_share_bounds_stay_between_0_and_1() -> None:
    assert share_bounds(0, 10, 0.95).low == 0
    assert share_bounds(10, 10, 0.95).high == 1


def test_no_image_lost_of_540_is_a_drop_of_less_than_a_half_percent() -> None:
    assert round(drop_bounds(0, 0, 540, 0.95).high, 6) == 0.004985


def score_by_likelihood(lost: int, gained: int, n: int, drop: float) -> float:
    """Score of Tango's test, with the nuisance share found by maximising the likelihood."""

    def likelihood(share: float) -> float:
        cells = ((lost, share + drop), (gained, share), (n - lost - gained, 1 - 2 * share - drop))
        return sum(
            count * math.log(max(probability, 1e-300)) for count, probability in cells if count
        )

    low, high = max(0.0, -drop), (1 - drop) / 2
    for _ in range(200):
        third = (high - low) / 3
        if likelihood(low + third) < likelihood(high - third):
            low += third
        else:
            high -= third
    return (lost - gained - n * drop) / math.sqrt(n * (2 * low + drop * (1 - drop)))


@pytest.mark.parametrize(
    ("lost", "gained", "n"), [(5, 1, 540), (1, 5, 540), (3, 0, 44), (10, 10, 100), (60, 20, 200)]
)
def test_drop_bounds_are_where_the_score_is_the_quantile(lost: int, gained: int, n: int) -> None:
    low, high = drop_bounds(lost, gained, n, 0.95)
    assert low < (lost - gained) / n < high
    assert score_by_likelihood(lost, gained, n, low) == pytest.approx(1.6448536, abs=1e-4)
    assert score_by_likelihood(lost, gained, n, high) == pytest.approx(-1.6448536, abs=1e-4)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 1), (7, 0), (30, 30), (50, 0)])
def test_drop_seen_from_the_other_side_has_the_opposite_bounds(lost: int, gained: int) -> None:
    low, high = drop_bounds(lost, gained, 50 + lost + gained, 0.95)
    assert drop_bounds(gained, lost, 50 + lost + gained, 0.95) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("lost", "gained", "n"), [(1, 0, 1), (0, 1, 1), (9, 0, 9), (0, 0, 1)])
def test_smallest_and_extreme_samples_have_bounds(lost: int, gained: int, n: int) -> None:
    low, high = drop_bounds(lost, gained, n, 0.99)
    assert -1 <= low <= (lost - gained) / n <= high <= 1


def test_more_confidence_gives_wider_bounds() -> None:
    narrow, wide = drop_bounds(5, 1, 540, 0.9), drop_bounds(5, 1, 540, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_table_bounds_are_the_stored_quantiles_and_lie_between_them() -> None:
    table = {"0.05": 1.0, "0.1": 2.0, "0.9": 8.0, "0.95": 10.0}
    assert table_bounds(table, 0.95) == pytest.approx((1.0, 10.0))
    assert table_bounds(table, 0.925) == pytest.approx((1.5, 9.0))


def test_table_bounds_beyond_the_outermost_quantile_are_that_quantile() -> None:
    assert table_bounds({"0.05": 1.0, "0.95": 10.0}, 0.999) == (1.0, 10.0)


def test_bounds_of_a_median_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for n, confidence in ((5, 0.95), (12, 0.95), (30, 0.99)):
        below = above = 0
        for _ in range(2000):
            bounds = median_bounds(rng.exponential(size=n).tolist(), confidence)
            assert bounds is not None
            below += bounds.low > math.log(2)
            above += bounds.high < math.log(2)
        # Each is wrong no more often than is allowed, but for three standard deviations.
        allowed = 1 - confidence
        most = 2000 * allowed + 3 * math.sqrt(2000 * allowed)
        assert max(below, above) <= most


@pytest.mark.parametrize(("confidence", "fewest"), [(0.5, 1), (0.75, 2), (0.95, 5), (0.99, 7)])
def test_a_median_has_bounds_from_so_many_values_on(confidence: float, fewest: int) -> None:
    assert fewest_for_median(confidence) == fewest
    assert median_bounds([1.0] * (fewest - 1), confidence) is None
    assert median_bounds([2.0, *[1.0] * (fewest - 1)], confidence) is not None
