"""Latency of two callables, measured interleaved, and what the samples support.

One clock for all backends: host time around a call that returns when its result is there.
Calls alternate, and which goes first alternates too, so that drift and other load meet both.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]

LEVELS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975, 0.99, 0.995)
"""Quantile levels at which resampled statistics are stored, so that gates can pick theirs."""

_RESAMPLES = 2000
_WINDOW = 20
_AGREEMENT = 0.10
_WARMUP_CAP_S = 10.0
_CLAIM_CONFIDENCE = 0.99
_SHORT_WARMUP_S = 0.2
_FEWEST_ROUNDS = 5


def warm_up(first: Call, second: Call, least_s: float) -> None:
    """Run both for at least `least_s`, and on until two windows agree within 10 %."""
    begin_s = time.perf_counter()
    before = np.inf
    while True:
        window = np.median(interleaved(first, second, _WINDOW).sum(axis=1))
        spent_s = time.perf_counter() - begin_s
        is_steady = abs(window - before) <= _AGREEMENT * window
        if spent_s >= least_s and (is_steady or spent_s >= _WARMUP_CAP_S):
            return
        before = window


def interleaved(first: Call, second: Call, pairs: int) -> NDArray[np.float64]:
    """Return milliseconds of shape (pairs, 2), one column for each callable."""
    times_ms = np.empty((pairs, 2))
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(pairs):
            order = ((0, first), (1, second)) if number % 2 == 0 else ((1, second), (0, first))
            for column, call in order:
                begin_ns = time.perf_counter_ns()
                call()
                times_ms[number, column] = (time.perf_counter_ns() - begin_ns) / 1e6
    finally:
        if was_collecting:
            gc.enable()
    return times_ms


def in_turns(calls: Sequence[Call], *, budget_s: float, most: int) -> NDArray[np.float64]:
    """Return milliseconds of shape (rounds, calls), after as many rounds to warm up as fit 0.2 s.

    Each round runs every call once, from another first one, until time or `most` rounds are over.
    """
    begin_s = time.perf_counter()
    while time.perf_counter() - begin_s < _SHORT_WARMUP_S:
        for call in calls:
            call()
    rows: list[list[float]] = []
    begin_s = time.perf_counter()
    while len(rows) < most and (
        len(rows) < _FEWEST_ROUNDS or time.perf_counter() - begin_s < budget_s
    ):
        row = [0.0] * len(calls)
        for step in range(len(calls)):
            column = (len(rows) + step) % len(calls)
            begin_ns = time.perf_counter_ns()
            calls[column]()
            row[column] = (time.perf_counter_ns() - begin_ns) / 1e6
        rows.append(row)
    return np.array(rows)


def percentile(samples: NDArray[np.float64], share: float) -> float | None:
    """Return an order statistic, None where the sample is too small to claim it.

    The claim needs n with 1 - share^n >= 0.99 from above: 44 for p90, 459 for p99.
    """
    n = len(samples)
    if 1 - share**n < _CLAIM_CONFIDENCE:
        return None
    return float(np.sort(samples)[min(n - 1, int(np.ceil(share * n)) - 1)])


def summary(samples: NDArray[np.float64], batch: int, seed: int) -> dict[str, Any]:
    """Return the latency record of one side, as the report has it."""
    rng = np.random.default_rng(seed)
    medians = np.median(samples[_block_indices(len(samples), rng)], axis=1)
    mean = float(samples.mean())
    return {
        "batch": batch,
        "n": len(samples),
        "p50_ms": float(np.median(samples)),
        "p90_ms": percentile(samples, 0.90),
        "p99_ms": percentile(samples, 0.99),
        "mean_ms": mean,
        "coefficient_of_variation": float(samples.std() / mean),
        "quantiles": quantiles(medians),
    }


def speedup(times_ms: NDArray[np.float64], confidence: float, seed: int) -> dict[str, Any]:
    """Return the median ratio of the first column over the second, with its interval.

    Samples of a machine are correlated in time, so whole blocks of consecutive pairs are
    resampled (moving-block bootstrap: Kuensch, Annals of Statistics 17 (1989) 1217).
    """
    ratios = times_ms[:, 0] / times_ms[:, 1]
    rng = np.random.default_rng(seed)
    medians = np.median(ratios[_block_indices(len(ratios), rng)], axis=1)
    tail = (1 - confidence) / 2
    return {
        "median": float(np.median(ratios)),
        "interval": [float(v) for v in np.quantile(medians, [tail, 1 - tail])],
        "confidence": confidence,
        "pairs": len(ratios),
        "quantiles": quantiles(medians),
    }


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the quantiles of resampled values at the stored levels."""
    found = np.quantile(values, LEVELS)
    return {f"{level:g}": float(value) for level, value in zip(LEVELS, found, strict=True)}


def _block_indices(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices of shape (resamples, n), made of blocks of about n^(1/2) neighbours."""
    length = max(1, round(n**0.5))
    blocks = -(-n // length)
    starts = rng.integers(0, n - length + 1, size=(_RESAMPLES, blocks, 1))
    indices = (starts + np.arange(length)).reshape(_RESAMPLES, -1)
    return indices[:, :n]
