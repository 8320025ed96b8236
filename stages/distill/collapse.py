"""Noticing a collapse while it happens; the thresholds are madpipe's own."""

import math
from collections.abc import Sequence

from pipeline.stage import StageError
from stages.distill.metrics import Window

_ONE_CLASS_SHARE = 0.95
_ONE_CLASS_WINDOWS = 5
_NO_BETTER_WINDOWS = 20


def check(windows: Sequence[Window], num_classes: int) -> None:
    """Make sure that the windows of a run so far make it worth going on with.

    Raises:
        StageError: A loss is not finite, the generator makes images of one class only, or the
            student learns nothing but the commonest decision.
    """
    newest = windows[-1]
    for name in ("student_loss", "generator_loss"):
        value = getattr(newest, name)
        if not math.isfinite(value):
            raise StageError(
                "distill",
                f"{name} is not finite by round {newest.round} ({value})",
                "lower distill.student_learning_rate or distill.generator_learning_rate",
            )
    if num_classes < 2:  # noqa: PLR2004  (one class cannot collapse)
        return
    last = windows[-_ONE_CLASS_WINDOWS:]
    if len(last) == _ONE_CLASS_WINDOWS and all(
        window.largest_class_share >= _ONE_CLASS_SHARE for window in last
    ):
        raise StageError(
            "distill",
            f"the generator collapsed by round {newest.round}: for the teacher "
            f"{newest.largest_class_share:.3f} of its images are of one class",
            "raise distill.balance_weight, lower distill.generator_learning_rate, or use "
            'distill.generator = "sum"',
        )
    last = windows[-_NO_BETTER_WINDOWS:]
    if len(last) == _NO_BETTER_WINDOWS and all(
        window.agreement <= window.largest_class_share for window in last
    ):
        raise StageError(
            "distill",
            f"the student collapsed by round {newest.round}: it decides as the teacher does "
            f"on {newest.agreement:.3f} of the images, one class alone has "
            f"{newest.largest_class_share:.3f} of them",
            "lower distill.student_learning_rate, or raise distill.student_steps",
        )
