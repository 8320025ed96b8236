"""Labels that nothing can be judged by are refused."""

import numpy as np
import pytest

from pipeline.errors import StageError
from stages.data.labels import check_labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "no held-out images"),
        ([1, 1, 1], "all 3 held-out images are of one class"),
        ([0, 3], r"outside the 3 classes \(3\)"),
        ([0, -1], r"outside the 3 classes \(-1\)"),
    ],
)
def test_labels_that_cannot_judge_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(StageError, match=message):
        check_labels(np.array(labels, dtype=np.int64), 3)
