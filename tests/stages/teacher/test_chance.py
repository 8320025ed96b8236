"""Chance is known from few images, and from many of one class."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import StageError
from stages.teacher import chance


def _judged(guesses: list[int], labels: list[int], num_classes: int = 4) -> str | None:
    logits_NK: Tensor = functional.one_hot(torch.tensor(guesses), num_classes).float()
    return chance.doubt(logits_NK, torch.tensor(labels))


def test_a_teacher_that_finds_the_rare_class_is_good_however_many_the_common_one_has() -> None:
    labels = [0] * 194 + [1] * 6
    guesses = [0] * 196 + [1] * 4
    assert _judged(guesses, labels) is None


@pytest.mark.parametrize("count", [6, 36, 540])
def test_a_teacher_that_knows_one_class_only_is_no_better_than_chance(count: int) -> None:
    labels = [0] * (count - 2) + [1, 2]
    with pytest.raises(StageError, match="is no better than chance"):
        _judged([0] * count, labels)


def test_a_teacher_that_guesses_is_no_better_than_chance() -> None:
    rng = torch.Generator().manual_seed(0)
    guesses, labels = torch.randint(0, 4, (2, 540), generator=rng).tolist()
    with pytest.raises(StageError, match=r"top-1 0\.2\d+ on 540 images, chance 0\.249"):
        _judged(guesses, labels)


def test_few_images_of_which_more_than_by_chance_are_right_are_too_few_to_tell() -> None:
    labels = [0, 1, 2, 3] * 9
    guesses = [label if n % 5 < 2 else (label + 1) % 4 for n, label in enumerate(labels)]
    assert _judged(guesses, labels) == (
        "too few images to tell whether the teacher is better than chance (top-1 0.417 on 36 "
        "images, chance 0.250)"
    )


def test_six_images_all_right_are_enough() -> None:
    assert _judged([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], 2) is None


def test_one_class_alone_tells_nothing() -> None:
    assert "one class alone" in (_judged([2, 2, 1], [2, 2, 2]) or "")
