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


def _run(count: int, *, every: int = 20, **changes: Any) -> list[Window]:
    """Return so many windows of `every` rounds, all alike."""
    return [_window(round=(number + 1) * every, **changes) for number in range(count)]


def test_a_healthy_run_goes_on() -> None:
    collapse.check(_run(50), 10, 1000)


@pytest.mark.parametrize("name", ["student_loss", "generator_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(name: str, value: float) -> None:
    with pytest.raises(StageError, match=rf"{name} is not finite by round 10 \((nan|inf)\)"):
        collapse.check([_window(**{name: value})], 10, 1000)


def test_a_teacher_whose_outputs_are_not_finite_is_named_before_the_losses_that_it_spoils() -> None:
    window = _window(teacher_faults=3, generator_loss=math.nan)
    with pytest.raises(StageError, match=r"the teacher gives .*\(nan or inf for 3 .* forward"):
        collapse.check([window], 10, 1000)


def test_a_generator_of_one_class_ends_the_run_with_what_to_change() -> None:
    with pytest.raises(StageError, match=r"generator collapsed by round 200.*0\.990 .*balance_w"):
        collapse.check(_run(10, largest_class_share=0.99), 10, 1000)


def test_a_passing_preference_for_one_class_is_left_alone() -> None:
    collapse.check(_run(9, largest_class_share=0.99), 10, 1000)
    collapse.check([*_run(9, largest_class_share=0.99), _window(round=200)], 10, 1000)


def test_a_generator_that_begins_with_one_class_and_gets_better_is_left_alone() -> None:
    windows = [_window(round=20 * n, largest_class_share=1 - 0.004 * n) for n in range(1, 11)]
    collapse.check(windows, 10, 1000)


@pytest.mark.parametrize("rounds", [5, 20, 60, 199])
def test_a_run_too_short_to_tell_a_collapse_from_a_beginning_goes_on(rounds: int) -> None:
    windows = _run(rounds, every=1, largest_class_share=1.0, agreement=0.0)
    for count in range(1, rounds + 1):
        collapse.check(windows[:count], 10, rounds)


def test_how_long_one_class_is_borne_goes_by_the_length_of_the_run() -> None:
    windows = _run(50, every=1000, largest_class_share=0.99)
    collapse.check(windows[:4], 10, 50_000)
    with pytest.raises(StageError, match=r"generator collapsed by round 5000"):
        collapse.check(windows[:5], 10, 50_000)


def test_a_student_no_better_than_the_commonest_class_ends_the_run() -> None:
    windows = _run(20, agreement=0.15, largest_class_share=0.2)
    collapse.check(windows[:19], 10, 1000)
    with pytest.raises(StageError, match=r"student collapsed .* 0\.150 .*student_learning_rate"):
        collapse.check(windows, 10, 1000)


def test_a_student_of_many_classes_that_begins_to_learn_is_left_alone() -> None:
    windows = [
        _window(round=20 * n, agreement=0.005 * n, largest_class_share=0.2) for n in range(1, 21)
    ]
    collapse.check(windows, 300, 1000)


def test_a_single_class_cannot_collapse() -> None:
    collapse.check(_run(50, largest_class_share=1.0, agreement=1.0), 1, 1000)
