"""How far an engine's logits are from those of its ONNX file, in terms of their own spread.

Shape legend: N images, K classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Agreement(NamedTuple):
    """How an engine compares with its ONNX file on the same images."""

    disagreement: float
    """Share of the images that get another class."""
    logit_difference: float
    """See `relative_difference`."""


def compare(logits_NK: NDArray[np.float32], reference_NK: NDArray[np.float32]) -> Agreement:
    """Return how an engine's logits compare with those of its reference."""
    differs_N = logits_NK.argmax(axis=1) != reference_NK.argmax(axis=1)
    return Agreement(float(differs_N.mean()), relative_difference(logits_NK, reference_NK))


def relative_difference(logits_NK: NDArray[np.float32], reference_NK: NDArray[np.float32]) -> float:
    """Return the largest difference of a logit, as a share of the spread of the reference's.

    The spread is the mean over images of largest minus smallest logit; where all are the same, it
    is the largest magnitude. Networks whose logits are all large or all tiny are so judged alike.
    Infinite where an output is not finite.
    """
    if not np.isfinite(logits_NK).all():
        return float("inf")
    difference = float(np.abs(logits_NK - reference_NK).max(initial=0.0))
    rows_NK = reference_NK.reshape(len(reference_NK), -1)
    scale = float(np.ptp(rows_NK, axis=1).mean()) or float(np.abs(rows_NK).max(initial=0.0))
    if not difference:
        return 0.0
    return difference / scale if scale else float("inf")
