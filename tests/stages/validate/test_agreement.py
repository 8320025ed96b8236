"""Agreement on unlabelled images that were held back, counted by hand."""

import numpy as np
import torch

from stages.data.images import Images
from stages.validate import agreement
from stages.validate.agreement import HeldBack

IMAGES = Images(
    torch.zeros((4, 1, 2, 2), dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("a", "b")
)


def _logits(classes: str) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[[int(digit) for digit in classes]]


def test_each_network_is_compared_with_the_teacher_on_the_same_images() -> None:
    seen: list[Images] = []

    def infer(images: Images) -> np.ndarray:
        seen.append(images)
        return _logits("0110")

    networks = {"teacher": infer, "engine": lambda _: _logits("0000")}
    measured = agreement.measure(HeldBack(IMAGES, {"student": _logits("0111")}), networks)
    assert {name: (share.hits, share.n) for name, share in measured.items()} == {
        "student": (3, 4),
        "engine": (2, 4),
    }
    assert seen == [IMAGES]


def test_without_images_nothing_runs() -> None:
    assert agreement.measure(None, {}) == {}
