"""Latency measured interleaved, and what samples support; no test looks at a clock."""

import gc
from typing import Any

import numpy as np
import pytest

from stages import timing


def _nothing() -> None:
    pass


@pytest.mark.parametrize(("n", "share"), [(43, 0.90), (458, 0.99), (1, 0.90), (400, 0.99)])
def test_a_percentile_is_none_where_the_sample_is_too_small(n: int, share: float) -> None:
    assert timing.percentile(np.arange(n, dtype=float), share) is None


@pytest.mark.parametrize(("n", "share", "wanted"), [(44, 0.90, 39.0), (459, 0.99, 454.0)])
def test_a_percentile_is_an_order_statistic_where_the_sample_suffices(
    n: int, share: float, wanted: float
) -> None:
    samples = np.random.default_rng(0).permutation(n).astype(float)
    assert timing.percentile(samples, share) == wanted


def test_both_callables_are_called_as_often_and_take_turns_at_going_first() -> None:
    calls: list[str] = []
    times_ms = timing.interleaved(lambda: calls.append("a"), lambda: calls.append("b"), 4)
    assert "".join(calls) == "abbaabba"
    assert times_ms.shape == (4, 2)
    assert (times_ms >= 0).all()


@pytest.mark.parametrize("was_collecting", [True, False])
def test_the_garbage_collector_rests_and_is_then_as_before(*, was_collecting: bool) -> None:
    seen: list[bool] = []
    before = gc.isenabled()
    try:
        (gc.enable if was_collecting else gc.disable)()
        timing.interleaved(lambda: seen.append(gc.isenabled()), _nothing, 2)
        assert gc.isenabled() is was_collecting
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False, False]


def test_the_garbage_collector_is_back_after_an_error() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="broken"):
        timing.interleaved(fail, _nothing, 1)
    assert gc.isenabled()


def test_warming_up_runs_both_at_least_two_windows() -> None:
    calls: dict[str, int] = {"a": 0, "b": 0}

    def count(name: str) -> Any:
        def call() -> None:
            calls[name] += 1
            sum(range(2000))

        return call

    timing.warm_up(count("a"), count("b"), 0.0)
    assert calls["a"] == calls["b"] >= 40
    assert calls["a"] % 20 == 0


def test_a_constant_ratio_is_the_speed_up_with_no_spread() -> None:
    second = np.random.default_rng(1).uniform(1, 2, 100)
    found = timing.speedup(np.stack([3 * second, second], axis=1), 0.95, 0)
    assert found["median"] == pytest.approx(3.0)
    assert found["interval"] == pytest.approx([3.0, 3.0])
    assert (found["confidence"], found["pairs"]) == (0.95, 100)


def test_the_interval_holds_the_median_and_narrows_with_more_pairs() -> None:
    rng = np.random.default_rng(2)

    def width(pairs: int) -> float:
        times_ms = np.stack([rng.normal(10, 1, pairs), rng.normal(2, 0.2, pairs)], axis=1)
        found = timing.speedup(times_ms, 0.95, 0)
        low, high = found["interval"]
        assert low <= found["median"] <= high
        return float(high - low)

    assert width(2000) < width(50)


def test_a_slow_drift_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.1, 400)
    drift = np.repeat([0.0, 1.0, 0.2, 0.8], 100)
    wide, narrow = (
        timing.speedup(np.stack([3 + each, np.ones(400)], axis=1), 0.95, 0)["interval"]
        for each in (noise + drift, noise + rng.permutation(drift))
    )
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_the_same_samples_give_the_same_record() -> None:
    times_ms = np.random.default_rng(4).uniform(1, 2, (60, 2))
    assert timing.speedup(times_ms, 0.9, 0) == timing.speedup(times_ms, 0.9, 0)
    assert timing.summary(times_ms[:, 0], 1, 0) == timing.summary(times_ms[:, 0], 1, 0)


def test_a_summary_says_no_more_than_its_sample_supports() -> None:
    found = timing.summary(np.arange(1.0, 51.0), 8, 0)
    assert (found["batch"], found["n"]) == (8, 50)
    assert found["p50_ms"] == 25.5
    assert found["p90_ms"] == 45.0
    assert found["p99_ms"] is None
    assert found["mean_ms"] == 25.5
    assert list(found["quantiles"]) == [f"{level:g}" for level in timing.LEVELS]
    assert list(found["quantiles"].values()) == sorted(found["quantiles"].values())


@pytest.mark.parametrize("n", [1, 2, 20, 101])
def test_blocks_are_neighbours_within_the_sample(n: int) -> None:
    indices = timing._block_indices(n, np.random.default_rng(0))
    length = max(1, round(n**0.5))
    assert indices.shape == (2000, n)
    assert indices.min() >= 0
    assert indices.max() < n
    steps = np.diff(indices[:, : n - n % length].reshape(len(indices), -1, length), axis=2)
    assert (steps == 1).all()


def test_calls_in_turns_are_measured_as_often_as_each_other_and_start_in_turn() -> None:
    order: list[int] = []
    calls = [lambda n=n: order.append(n) for n in range(3)]
    times_ms = timing.in_turns(calls, budget_s=60.0, most=6)
    assert times_ms.shape == (6, 3)
    last = order[-18:]
    assert [last[start] for start in range(0, 18, 3)] == [0, 1, 2, 0, 1, 2]
    assert (times_ms >= 0).all()
