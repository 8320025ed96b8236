"""Whether labels can be judged by.

Shape legend: N images.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.stage import StageError


def check_labels(y_N: NDArray[np.int64], num_classes: int) -> None:
    """Make sure that labels can be judged by.

    Raises:
        StageError: There are none, all are of one class, or one is no class.
    """
    if not len(y_N):
        raise StageError("data.root", "holds no held-out images (0)", "correct data.root")
    low, high = int(y_N.min()), int(y_N.max())
    if low < 0 or high >= num_classes:
        outside = low if low < 0 else high
        raise StageError(
            "data.root",
            f"a label lies outside the {num_classes} classes ({outside})",
            "validate on the data that the teacher is for",
        )
    if low == high:
        raise StageError(
            "data.root",
            f"all {len(y_N)} held-out images are of one class ({low}), which a constant answer "
            "gets right",
            "hold out images of every class",
        )
