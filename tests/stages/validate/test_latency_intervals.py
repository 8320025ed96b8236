"""What samples of latency support, on arrays whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.validate import latency_intervals
from stages.validate.latency_intervals import latency_record, ratio_record


def _one_process(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[None, :]


@pytest.mark.parametrize(("n", "share"), [(43, 0.90), (458, 0.99), (1, 0.90), (400, 0.99)])
def test_a_percentile_is_none_where_the_sample_is_too_small(n: int, share: float) -> None:
    assert latency_intervals.percentile(np.arange(n, dtype=float), share) is None
    assert n < latency_intervals.needed(share)


@pytest.mark.parametrize(("n", "share", "expected"), [(44, 0.90, 39.0), (459, 0.99, 454.0)])
def test_a_percentile_is_an_order_statistic_where_the_sample_suffices(
    n: int, share: float, expected: float
) -> None:
    samples = np.random.default_rng(0).permutation(n).astype(float)
    assert latency_intervals.percentile(samples, share) == expected
    assert latency_intervals.needed(share) == n


def test_a_constant_ratio_is_known_but_for_the_spread_between_processes() -> None:
    below = _one_process(np.random.default_rng(1).uniform(1, 2, 100))
    record = ratio_record(3 * below, below, 0.0)
    assert record.median == pytest.approx(3.0)
    assert record.interval == pytest.approx([3.0, 3.0])
    assert (record.confidence, record.pairs, record.processes) == (0.95, 100, 1)
    low, high = ratio_record(3 * below, below, 0.01).interval
    assert (low, high) == pytest.approx((3 * np.exp(-0.0196), 3 * np.exp(0.0196)), rel=1e-4)


def test_the_interval_holds_the_median_and_narrows_with_more_pairs() -> None:
    rng = np.random.default_rng(2)

    def width(pairs: int) -> float:
        above, below = rng.normal(10, 1, (1, pairs)), rng.normal(2, 0.2, (1, pairs))
        record = ratio_record(above, below, 0.0)
        low, high = record.interval
        assert low <= record.median <= high
        return float(high - low)

    assert width(2000) < width(50)


def test_a_slow_drift_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.1, 400)
    drift = np.repeat([0.0, 1.0, 0.2, 0.8], 100)
    wide, narrow = (
        ratio_record(_one_process(3 + values), np.ones((1, 400)), 0.0).interval
        for values in (noise + drift, noise + rng.permutation(drift))
    )
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_several_processes_are_bounded_by_their_spread_with_students_t() -> None:
    above_PR = np.repeat([[2.0], [2.2], [2.42]], 50, axis=1)
    record = ratio_record(above_PR, np.ones((3, 50)), 0.5)
    assert record.median == pytest.approx(2.2)
    # t at 0.975 with 2 degrees of freedom is 4.3027; the logs lie log(1.1) apart.
    reach = 4.3027 * np.log(1.1) / 3**0.5
    assert record.interval == pytest.approx([2.2 * np.exp(-reach), 2.2 * np.exp(reach)], rel=1e-3)


def test_the_same_samples_give_the_same_record() -> None:
    first, second = np.random.default_rng(4).uniform(1, 2, (2, 1, 60))
    assert ratio_record(first, second, 0.01) == ratio_record(first, second, 0.01)
    assert latency_record(first, 1, 0.01) == latency_record(first, 1, 0.01)


def test_a_summary_claims_no_more_than_its_sample_supports() -> None:
    record = latency_record(_one_process(np.arange(1.0, 51.0)), 8, 0.0)
    assert (record.batch, record.n) == (8, 50)
    assert record.p50_ms == 25.5
    assert record.p90_ms == 45.0
    assert record.p99_ms is None
    assert (record.needs.p90_ms, record.needs.p99_ms) == (None, 459)
    assert record.mean_ms == 25.5
    assert record.quantiles.p99_ms is None
    for table in (record.quantiles.p50_ms, record.quantiles.p90_ms):
        assert table is not None
        assert list(table) == [f"{level:g}" for level in latency_intervals.LEVELS]
        assert list(table.values()) == sorted(table.values())


def test_the_bound_of_a_percentile_is_no_tighter_than_its_order_statistic() -> None:
    record = latency_record(_one_process(np.arange(1.0, 501.0)), 1, 0.0)
    assert record.quantiles.p90_ms is not None
    assert record.quantiles.p99_ms is not None
    # 95 % of binomial(500, 0.9) lie at or below 461.
    assert record.quantiles.p90_ms["0.95"] >= 461
    assert record.quantiles.p99_ms["0.05"] <= 491


def test_drift_comes_with_its_interval_and_steady_samples_have_none() -> None:
    rng = np.random.default_rng(5)
    steady = latency_intervals.drift(rng.normal(10, 0.5, (1, 300)))
    slowing = latency_intervals.drift(rng.normal(10, 0.5, (1, 300)) * np.linspace(1, 1.4, 300))
    assert steady is not None
    assert slowing is not None
    assert steady.interval[0] < 1 < steady.interval[1]
    assert slowing.interval[0] > 1.15
    assert latency_intervals.drift(np.ones((1, 29))) is None


@pytest.mark.parametrize("n", [1, 2, 20, 101])
def test_blocks_are_neighbours_within_the_sample(n: int) -> None:
    indices = latency_intervals.block_indices(n, np.random.default_rng(0))
    length = max(1, round(n**0.5))
    assert indices.shape == (2000, n)
    assert indices.min() >= 0
    assert indices.max() < n
    steps = np.diff(indices[:, : n - n % length].reshape(len(indices), -1, length), axis=2)
    assert (steps == 1).all()


def test_with_nothing_changed_the_bound_is_wrong_about_as_often_as_it_says() -> None:
    """400 runs of equal calls with correlated noise and a bias of each process."""
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(400):
        kicks = rng.normal(0, 0.02, (2, 1, 400))
        noise = np.zeros_like(kicks)
        for number in range(1, 400):
            noise[..., number] = 0.7 * noise[..., number - 1] + kicks[..., number]
        bias = rng.normal(0, 0.008)
        above, below = np.exp(noise[0] + bias), np.exp(noise[1])
        alarms += ratio_record(above, below, 0.01).quantiles["0.95"] < 1.0
    # At 5 % and 400 runs, more than 32 would come by chance in under 1 of 100 suites; seed fixed.
    assert alarms <= 32
