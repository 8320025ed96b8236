"""A collapse is noticed while it happens, and a healthy run is left alone."""

import math
from typing import Any

import pytest

from pipeline.errors import StageError
from stages.distill import collapse
from stages.distill.metrics import Window


def _window(**changes: Any) -> Window:
    return Window(
        **{
            "round": 10,
            "student_loss": 1.0,
            "generator_loss": -1.0,
            "agreement": 0.8,
            "class_entropy": 0.9,
            "largest_class_share": 0.2,
            **changes,
        }
    )


def test_a_healthy_run_goes_on() -> None:
    collapse.check([_window()] * 50, 10)


@pytest.mark.parametrize("name", ["student_loss", "generator_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(name: str, value: float) -> None:
    with pytest.raises(StageError, match=rf"{name} is not finite by round 10 \((nan|inf)\)"):
        collapse.check([_window(**{name: value})], 10)


def test_a_generator_of_one_class_ends_the_run_with_what_to_change() -> None:
    with pytest.raises(StageError, match=r"generator collapsed .* 0\.990 .*balance_weight"):
        collapse.check([_window(largest_class_share=0.99)] * 5, 10)


def test_a_passing_preference_for_one_class_is_left_alone() -> None:
    collapse.check([_window(largest_class_share=0.99)] * 4, 10)
    collapse.check([*[_window(largest_class_share=0.99)] * 4, _window()], 10)


def test_a_student_no_better_than_the_commonest_class_ends_the_run() -> None:
    bad = _window(agreement=0.15, largest_class_share=0.2)
    collapse.check([bad] * 19, 10)
    with pytest.raises(StageError, match=r"student collapsed .* 0\.150 .*student_learning_rate"):
        collapse.check([bad] * 20, 10)


def test_a_single_class_cannot_collapse() -> None:
    collapse.check([_window(largest_class_share=1.0, agreement=1.0)] * 50, 1)
