"""Expected calibration error: how far confidence is from being right.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 5: 15 bins of equal
width. Shape legend: N images, K classes, M bins, R resamples.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.gates.measurements import (
    CALIBRATION_BINS,
    CalibrationBin,
    CalibrationError,
    QuantileTable,
)
from stages.validate.latency_intervals import LEVELS

_RESAMPLES = 2000
_SEED = 0


def measure(logits_NK: NDArray[np.float32], right_N: NDArray[np.bool_]) -> CalibrationError:
    """Return the error, the mean confidence, the filled bins, and bounds for gates."""
    n = len(right_N)
    wide_NK = logits_NK.astype(np.float64)
    powers_NK = np.exp(wide_NK - wide_NK.max(axis=1, keepdims=True))
    confidence_N = 1.0 / powers_NK.sum(axis=1)
    bin_N = np.minimum((confidence_N * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gap_NM = np.zeros((n, CALIBRATION_BINS))
    gap_NM[np.arange(n), bin_N] = confidence_N - right_N
    error = float(np.abs(gap_NM.mean(axis=0)).sum())
    return CalibrationError(
        error=error,
        mean_confidence=float(confidence_N.mean()),
        n=n,
        bins=tuple(
            CalibrationBin(
                n=int((bin_N == m).sum()),
                confidence=float(confidence_N[bin_N == m].mean()),
                accuracy=float(right_N[bin_N == m].mean()),
            )
            for m in range(CALIBRATION_BINS)
            if (bin_N == m).any()
        ),
        quantiles=_quantiles(error, gap_NM),
    )


def _quantiles(error: float, gap_NM: NDArray[np.float64]) -> QuantileTable:
    """Return a table of bounds, wide on both sides, from the error on as many other images.

    A bin's mean gap over n images is close to normal, with the covariance that the images show.
    Resampled errors lie above the measured one, since noise in a bin never cancels. So their upper
    quantile is a cautious upper bound, and its mirror image a cautious lower one.
    """
    covariance_MM = np.cov(gap_NM, rowvar=False, ddof=0) / len(gap_NM)
    resampled_RM = np.random.default_rng(_SEED).multivariate_normal(
        gap_NM.mean(axis=0), covariance_MM, size=_RESAMPLES, check_valid="ignore"
    )
    resampled_R = np.abs(resampled_RM).sum(axis=1)
    table = {}
    for level in LEVELS:
        outer = float(np.quantile(resampled_R, max(level, 1 - level)))
        reach = max(0.0, outer - error) if level != 0.5 else 0.0  # noqa: PLR2004  (the median)
        table[f"{level:g}"] = max(0.0, error + (reach if level > 0.5 else -reach))  # noqa: PLR2004
    return table
