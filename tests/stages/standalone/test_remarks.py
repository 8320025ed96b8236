"""What is said of a teacher and an engine that are no better than chance, or in another order.

Shape legend: N images, K classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.data.images import Images
from stages.standalone import remarks

CLASSES = ("a", "b", "c", "d")
Y_N = np.arange(200) % len(CLASSES)
RIGHT_NK = np.eye(len(CLASSES), dtype=np.float32)[Y_N]
IMAGES = Images(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), torch.from_numpy(Y_N), CLASSES)


def _notes(**logits: NDArray[np.float32]) -> list[str]:
    notes: list[str] = []
    remarks.of_logits(logits, IMAGES, notes.append)
    return notes


def test_what_is_right_is_said_and_not_doubted() -> None:
    assert _notes(teacher=RIGHT_NK, engine=RIGHT_NK) == [
        "top-1 on 200 images: teacher 1.0000, engine 1.0000"
    ]


def test_a_network_at_chance_is_doubted_with_its_own_remedy() -> None:
    noise_NK = np.random.default_rng(0).random(RIGHT_NK.shape, dtype=np.float32)
    (doubt,) = _notes(teacher=noise_NK, engine=noise_NK)[1:]
    assert doubt.startswith("warning: the teacher is no better than chance (top-1 0.2")
    assert "check --mean, --std and --labels" in doubt
    (doubt,) = _notes(teacher=RIGHT_NK, engine=noise_NK)[1:]
    assert doubt.startswith("warning: the engine is no better than chance")
    assert "--mean of madpipe build" in doubt


def test_an_order_of_the_classes_that_fits_better_is_named() -> None:
    turned_NK = RIGHT_NK[:, [1, 2, 3, 0]]
    (doubt,) = _notes(teacher=turned_NK, engine=turned_NK)[1:]
    assert "top-1 is 1.000 instead of 0.000 with the classes in another order: " in doubt
    assert "give --labels in the order that the teacher was trained with" in doubt


def test_synthetic_images_have_no_top_1() -> None:
    notes: list[str] = []
    remarks.of_logits({"teacher": RIGHT_NK}, None, notes.append)
    assert notes == []
