"""A teacher whose outputs are in another order than the classes."""

import sys

import numpy as np
import pytest
import torch

from pipeline.errors import StageError
from stages.teacher import chance, class_order

NAMES = sorted(str(number) for number in range(1, 13))


def _logits(outputs_N: np.ndarray, classes: int, right: float = 0.95) -> torch.Tensor:
    """Return logits of a teacher that mostly gives these outputs."""
    rng = np.random.default_rng(0)
    random_N = rng.integers(0, classes, len(outputs_N))
    guesses_N = np.where(rng.random(len(outputs_N)) < right, outputs_N, random_N)
    return torch.nn.functional.one_hot(torch.from_numpy(guesses_N), classes).float()


def test_natural_order_is_named_with_what_it_would_give() -> None:
    y_N = np.repeat(np.arange(12), 6)
    outputs_N = np.array([int(NAMES[label]) - 1 for label in y_N])
    logits_NK = _logits(outputs_N, 12)
    order = class_order.better(logits_NK, torch.from_numpy(y_N), NAMES)
    assert order is not None
    assert 'natural order (data.classes = "natural"): 1, 2, 3' in order
    with pytest.raises(StageError, match=r"no better than chance .*top-1 is 0\.[89]\d+ instead"):
        chance.doubt(logits_NK, torch.from_numpy(y_N), order)


def test_a_usual_order_is_seen_on_few_images() -> None:
    names = ["Date", "apple", "berry", "cherry"]
    y_N = np.repeat(np.arange(4), 3)
    logits_NK = _logits(np.array([3, 0, 1, 2])[y_N], 4, 1.0)
    order = class_order.better(logits_NK, torch.from_numpy(y_N), names)
    assert order is not None
    assert "in natural order" in order or "without capitals: apple, berry, cherry, Date" in order


def test_any_other_order_is_listed_in_the_order_of_the_outputs() -> None:
    y_N = np.repeat(np.arange(4), 20)
    logits_NK = _logits(np.array([2, 0, 3, 1])[y_N], 4)
    order = class_order.better(logits_NK, torch.from_numpy(y_N), ["a", "b", "c", "d"])
    assert order is not None
    assert "in another order: b, d, a, c;" in order


@pytest.mark.parametrize("right", [0.0, 0.3, 1.0])
def test_a_teacher_that_is_only_weak_has_no_better_order(right: float) -> None:
    for classes, count in ((300, 2), (10, 5), (10, 100)):
        y_N = np.repeat(np.arange(classes), count)
        logits_NK = _logits(y_N, classes, right)
        names = [f"class{number}" for number in range(classes)]
        assert class_order.better(logits_NK, torch.from_numpy(y_N), names) is None


def test_nothing_is_assigned_where_no_order_could_gain_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)  # importing it would raise
    y_N = np.repeat(np.arange(10), 20)
    for labels_N, right in ((y_N, 0.97), (y_N[:1], 1.0)):
        logits_NK = _logits(labels_N, 10, right)
        names = [str(number) for number in range(10)]
        assert class_order.better(logits_NK, torch.from_numpy(labels_N), names) is None
