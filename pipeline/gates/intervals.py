"""Confidence bounds for shares, for paired differences of shares, and from stored quantiles.

Plain Python; the stored quantiles are computed where the samples are, in
`stages.validate.latency_intervals`. All bounds are one-sided: the true value lies above `low`
with the given confidence, and below `high` with the same confidence.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

_BISECTIONS = 60
_ROUNDING = 1e-9


class Bounds(NamedTuple):
    """One-sided lower and upper confidence bounds."""

    low: float
    high: float


def normal_quantile(confidence: float) -> float:
    """Return z such that a standard normal lies below it with probability `confidence`."""
    return NormalDist().inv_cdf(confidence)


def share_bounds(hits: float, n: float, confidence: float) -> Bounds:
    """Return score bounds of a share (Wilson, JASA 22 (1927) 209)."""
    z2 = normal_quantile(confidence) ** 2
    centre = (hits + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (hits * (n - hits) / n + z2 / 4)) / (n + z2)
    return Bounds(max(0.0, centre - half), min(1.0, centre + half))


def drop_bounds(lost: float, gained: float, n: float, confidence: float) -> Bounds:
    """Return score bounds of the drop (lost - gained) / n over n paired images.

    Tango, Statistics in Medicine 17 (1998) 891, equations 5 to 8. `lost` counts images that
    only the reference gets right, `gained` those that only the candidate gets right.
    """
    z = normal_quantile(confidence)

    def score(drop: float) -> float:
        b = -(lost + gained) + (2 * n - lost + gained) * drop
        c = -gained * drop * (1 - drop)
        q21 = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * q21 + drop * (1 - drop))
        distance = lost - gained - n * drop
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    value = (lost - gained) / n
    return Bounds(
        _root(lambda drop: score(drop) - z, -1.0, value),
        _root(lambda drop: score(drop) + z, value, 1.0),
    )


def median_bounds(values: Sequence[float], confidence: float) -> Bounds | None:
    """Return bounds of a median from few independent values, None where they are too few.

    Between two of the values themselves, whatever their distribution: the k-th smallest is above
    the median where fewer than k of n values are below it, which has the probability
    P(Binomial(n, 1/2) < k) (Thompson, Ann. Math. Stat. 7 (1936) 122).
    """
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while k < n:
        tail += math.comb(n, k) / 2.0**n
        if tail > 1 - confidence:
            break
        k += 1
    return Bounds(ordered[k - 1], ordered[n - k]) if k else None


def fewest_for_median(confidence: float) -> int:
    """Return the fewest values with which `median_bounds` bounds a median."""
    return math.ceil(math.log2(1 / (1 - confidence)) - _ROUNDING)


def table_bounds(quantiles: Mapping[str, float], confidence: float) -> Bounds:
    """Return bounds from stored quantiles of a resampled statistic, `{"0.05": value, ...}`.

    Between two stored levels the bound is interpolated; beyond the outermost it is that one.
    """
    levels = sorted((float(level), value) for level, value in quantiles.items())
    return Bounds(_interpolated(levels, 1 - confidence), _interpolated(levels, confidence))


def _interpolated(levels: list[tuple[float, float]], level: float) -> float:
    below = [pair for pair in levels if pair[0] <= level] or levels[:1]
    above = [pair for pair in levels if pair[0] >= level] or levels[-1:]
    (x0, y0), (x1, y1) = below[-1], above[0]
    return y0 if x0 == x1 else y0 + (y1 - y0) * (level - x0) / (x1 - x0)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function changes sign, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
