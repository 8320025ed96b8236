"""Noticing a collapse while it happens; the thresholds are madpipe's own.

A generator often begins with one class and a student with none: that is no collapse. It is one
where a good part of the run, and enough rounds to learn in, show it without getting any better.
"""

import math
import statistics
from collections.abc import Sequence

from pipeline.stage import StageError
from stages.distill.metrics import Window

FEWEST_ROUNDS = 200
"""Rounds that tell a collapse from a beginning; shorter runs are left to the gates."""
_ONE_CLASS_SHARE = 0.95
_ONE_CLASS_PART = 0.1
"""Share of the run for which the generator makes one class."""
_NO_BETTER_PART = 0.4
"""Share of the run for which the student knows no more than the commonest class."""
_FEWEST_WINDOWS = 5
_SIGNIFICANT = 2.0
"""Standard errors by which the newer half of the windows must be better to count as learning."""


def check(windows: Sequence[Window], num_classes: int, rounds: int) -> None:
    """Make sure that the windows of a run of so many rounds make it worth going on with.

    Raises:
        StageError: A loss is not finite, the generator makes images of one class only, or the
            student learns nothing but the commonest decision.
    """
    newest = windows[-1]
    check_finite(newest)
    if num_classes < 2:  # noqa: PLR2004  (one class cannot collapse)
        return
    last = _part(windows, _ONE_CLASS_PART * rounds)
    spread = [1 - window.largest_class_share for window in last]
    if last and max(spread) <= 1 - _ONE_CLASS_SHARE and not _is_rising(spread):
        raise StageError(
            "distill",
            f"the generator collapsed by round {newest.round}: for the teacher "
            f"{newest.largest_class_share:.3f} of its images are of one class",
            "raise distill.balance_weight, lower distill.generator_learning_rate, or use "
            'distill.generator = "sum"',
        )
    last = _part(windows, _NO_BETTER_PART * rounds)
    lead = [window.agreement - window.largest_class_share for window in last]
    if last and max(lead) <= 0 and not _is_rising(lead):
        raise StageError(
            "distill",
            f"the student collapsed by round {newest.round}: it decides as the teacher does "
            f"on {newest.agreement:.3f} of the images, one class alone has "
            f"{newest.largest_class_share:.3f} of them",
            "lower distill.student_learning_rate, or raise distill.student_steps",
        )


def check_finite(window: Window) -> None:
    """Raise a StageError where the losses of a window, or what the teacher gave, are not finite."""
    if window.teacher_faults:
        raise StageError(
            "distill",
            f"the teacher gives outputs that are not finite (nan or inf for "
            f"{window.teacher_faults} generated images by round {window.round})",
            "look in its forward for what breaks on unusual images (a logarithm, a root, a "
            "division, half precision) and bound its input there",
        )
    for name in ("student_loss", "generator_loss"):
        value = getattr(window, name)
        if not math.isfinite(value):
            raise StageError(
                "distill",
                f"{name} is not finite by round {window.round} ({value})",
                "lower distill.student_learning_rate or distill.generator_learning_rate",
            )


def _part(windows: Sequence[Window], rounds: float) -> Sequence[Window]:
    """Return the newest windows that cover so many rounds, none where there are too few yet."""
    first_round = windows[-1].round - max(FEWEST_ROUNDS, rounds)
    last = [window for window in windows if window.round > first_round]
    return last if first_round >= 0 and len(last) >= _FEWEST_WINDOWS else []


def _is_rising(values: Sequence[float]) -> bool:
    """Return whether the newer half is above the older by more than their scatter explains."""
    half = len(values) // 2
    older, newer = values[:half], values[half:]
    error = math.sqrt(sum(statistics.variance(part) / len(part) for part in (older, newer)))
    return statistics.fmean(newer) - statistics.fmean(older) > _SIGNIFICANT * error
