"""Images go through in batches and come out in their order."""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.data.images import Images
from stages.validate.predict import batched


def test_every_image_is_seen_once_and_in_order() -> None:
    levels_N = torch.arange(150, dtype=torch.uint8)
    shown = Images(levels_N.view(-1, 1, 1, 1).expand(-1, 1, 2, 2), torch.zeros(150).long(), ("a",))
    sizes: list[int] = []

    def infer(x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes.append(len(x_BCHW))
        return x_BCHW.reshape(len(x_BCHW), -1)[:, :1]

    found_N1 = batched(infer, shown)
    assert (found_N1[:, 0] * 255).round().tolist() == list(range(150))
    assert sum(sizes) == 150
    assert max(sizes) < 150
