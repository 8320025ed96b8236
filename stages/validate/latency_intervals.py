"""Confidence intervals of latencies: of medians, percentiles, drift, and of the speed-up.

Samples of one process are correlated in time, so whole blocks of consecutive repetitions are
resampled (moving-block bootstrap: Kuensch, Annals of Statistics 17 (1989) 1217). A process also
carries a steady bias that no sample of its own shows. Where several processes measured, the
spread of their medians holds it (Student's t on their logarithms); where one measured alone, the
interval is widened by `spread`, the relative standard deviation that the settings assume.

Quantiles are stored at fixed levels; `pipeline.gates.intervals` makes a gate's bounds of them.
Shape legend: P processes, R repetitions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.gates import measurements as records

LEVELS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975, 0.99, 0.995)
"""Quantile levels at which bounds are stored, so that gates can pick theirs."""

PERCENTILES = {"p90_ms": 0.90, "p99_ms": 0.99}

_RESAMPLES = 2000
_SEED = 0
_CLAIM_CONFIDENCE = 0.99
_INTERVAL_CONFIDENCE = 0.95
_FEWEST_IN_A_THIRD = 10

Samples = NDArray[np.float64]
"""Of shape PR."""


def needed(share: float) -> int:
    """Return the least n that supports a percentile: 44 for p90, 459 for p99.

    The claim needs 1 - share^n >= 0.99, so that a sample that large passes the percentile.
    """
    return int(np.ceil(np.log(1 - _CLAIM_CONFIDENCE) / np.log(share)))


def percentile(samples: NDArray[np.float64], share: float) -> float | None:
    """Return an order statistic, None where the sample is too small to claim it."""
    n = samples.size
    if n < needed(share):
        return None
    return float(np.sort(samples, axis=None)[min(n - 1, int(np.ceil(share * n)) - 1)])


def latency_record(samples_PR: Samples, batch: int, spread: float) -> records.LatencyRecord:
    """Return what the samples, in milliseconds, support; causes of noise are left empty."""
    p50_ms, quantiles = median(samples_PR, spread)
    percentiles = {name: percentile(samples_PR, share) for name, share in PERCENTILES.items()}
    tables = {
        name: _percentile_table(samples_PR, PERCENTILES[name], value, spread)
        for name, value in percentiles.items()
        if value is not None
    }
    needs = {name: needed(PERCENTILES[name]) for name in percentiles.keys() - tables.keys()}
    mean_ms = float(samples_PR.mean())
    return records.LatencyRecord(
        batch=batch,
        n=samples_PR.size,
        p50_ms=p50_ms,
        processes=len(samples_PR),
        spread=spread,
        p90_ms=percentiles["p90_ms"],
        p99_ms=percentiles["p99_ms"],
        needs=records.PercentileNeeds(**needs),
        mean_ms=mean_ms,
        coefficient_of_variation=float(samples_PR.std() / mean_ms),
        drift=drift(samples_PR),
        causes=(),
        quantiles=records.LatencyQuantiles(p50_ms=quantiles, **tables),
    )


def ratio_record(above_PR: Samples, below_PR: Samples, spread: float) -> records.RatioRecord:
    """Return the median of paired ratios, such as the speed-up, with interval and quantiles."""
    value, quantiles = median(above_PR / below_PR, spread)
    tail = (1 - _INTERVAL_CONFIDENCE) / 2
    return records.RatioRecord(
        median=value,
        interval=(quantiles[f"{tail:g}"], quantiles[f"{1 - tail:g}"]),
        confidence=_INTERVAL_CONFIDENCE,
        pairs=above_PR.size,
        processes=len(above_PR),
        spread=spread,
        quantiles=quantiles,
    )


def median(values_PR: Samples, spread: float) -> tuple[float, records.QuantileTable]:
    """Return the median of positive values and its bounds at each level."""
    if len(values_PR) > 1:
        logs_P = np.log(np.median(values_PR, axis=1))
        centre, count = float(logs_P.mean()), len(logs_P)
        error = float(logs_P.std(ddof=1)) / count**0.5
        reach = special.stdtrit(count - 1, LEVELS) * error
        return float(np.exp(centre)), _table(np.exp(centre + reach))
    value = float(np.median(values_PR))
    rng = np.random.default_rng(_SEED)
    resampled = np.median(values_PR[0][block_indices(values_PR.shape[1], rng)], axis=1)
    return value, _table(_widened(value, np.quantile(resampled, LEVELS), spread))


def drift(samples_PR: Samples) -> records.Drift | None:
    """Return the median of the last third over that of the first, None for short samples."""
    third = samples_PR.shape[1] // 3
    if third < _FEWEST_IN_A_THIRD:
        return None
    ends = (samples_PR[:, :third], samples_PR[:, -third:])
    rng = np.random.default_rng(_SEED)
    first, last = (
        np.median(np.concatenate([row[block_indices(third, rng)] for row in end], axis=1), axis=1)
        for end in ends
    )
    tail = (1 - _INTERVAL_CONFIDENCE) / 2
    low, high = np.quantile(last / first, [tail, 1 - tail])
    ratio = float(np.median(ends[1]) / np.median(ends[0]))
    return records.Drift(ratio=ratio, interval=(float(low), float(high)))


def block_indices(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return indices of shape (resamples, n), made of blocks of about n^(1/2) neighbours."""
    length = max(1, round(n**0.5))
    blocks = -(-n // length)
    starts = rng.integers(0, n - length + 1, size=(_RESAMPLES, blocks, 1))
    indices = (starts + np.arange(length)).reshape(_RESAMPLES, -1)
    return indices[:, :n]


def _percentile_table(
    samples_PR: Samples, share: float, value: float, spread: float
) -> records.QuantileTable:
    """Return bounds of a percentile: the wider of the resampled and the order statistic's.

    Resampling cannot reach beyond the largest sample, and order statistics (binomial, as in
    David and Nagaraja, Order Statistics, 7.1) take samples as independent; each is too narrow
    where the other is not.
    """
    flat = samples_PR.reshape(-1)
    n = flat.size
    rng = np.random.default_rng(_SEED)
    resampled = np.quantile(
        np.quantile(flat[block_indices(n, rng)], share, axis=1, method="inverted_cdf"), LEVELS
    )
    upper = np.asarray(LEVELS) > 0.5  # noqa: PLR2004  (the median)
    ranks = np.ceil(special.bdtrik(LEVELS, n, share)).astype(int) - ~upper
    ordered = np.sort(flat)[np.clip(ranks, 0, n - 1)]
    wider = np.where(upper, np.maximum(resampled, ordered), np.minimum(resampled, ordered))
    return _table(_widened(value, wider, spread / len(samples_PR) ** 0.5))


def _widened(value: float, quantiles: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """Return quantiles moved away from the value by an independent relative error."""
    own = np.log(quantiles / value)
    levels = np.asarray(LEVELS)
    more = np.hypot(own, special.ndtri(levels) * spread)
    signs = np.sign(levels - 0.5)
    # A bound on the wrong side of the value, as skewed samples give, stays a bound.
    wide: NDArray[np.float64] = value * np.exp(np.where(own * signs >= 0, signs * more, own))
    return np.where(signs == 0, quantiles, wide)


def _table(quantiles: NDArray[np.float64]) -> records.QuantileTable:
    return {f"{level:g}": float(value) for level, value in zip(LEVELS, quantiles, strict=True)}
