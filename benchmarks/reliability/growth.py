"""Whether something grows: the slope of a series with its interval, and levels that stay up.

Samples of one process depend on each other, so that a line through all of them seems far surer
than it is. The line goes through the means of blocks of samples.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
_BLOCKS = 8
FEWEST_SAMPLES = 4 * _BLOCKS


class Slope(NamedTuple):
    """How much a series grows for each unit of work, with a two-sided interval."""

    per_unit: float
    low: float
    high: float


def slope(done: Sequence[float], values: Sequence[float]) -> Slope:
    """Return the slope of `values` over the work `done`, by least squares through block means.

    Raises:
        ValueError: There are too few samples, or no work was done between them.
    """
    if len(done) < FEWEST_SAMPLES:
        message = f"{len(done)} samples are too few for a slope"
        raise ValueError(message)
    x = [float(np.mean(block)) for block in np.array_split(np.asarray(done, float), _BLOCKS)]
    y = [float(np.mean(block)) for block in np.array_split(np.asarray(values, float), _BLOCKS)]
    if min(x) == max(x):
        message = "nothing was done between the samples"
        raise ValueError(message)
    if min(y) == max(y):
        return Slope(0.0, 0.0, 0.0)  # of which the fit has no interval
    line = scipy.stats.linregress(x, y)
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, _BLOCKS - 2) * line.stderr)
    return Slope(float(line.slope), float(line.slope) - half, float(line.slope) + half)


def rise(values: Sequence[float]) -> float:
    """Return by how much the level of the last quarter is above that of the second one.

    Levels are medians, so that a handle that is open for a moment is none; the first quarter is
    left out, in which a program still gets ready.
    """
    quarter = len(values) // 4
    if not quarter:
        message = f"{len(values)} samples are too few for levels"
        raise ValueError(message)
    return statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter])
