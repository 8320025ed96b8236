"""Running many images through what takes a batch at a time.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from stages.data.images import Images

_BATCH = 64


def batched(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]], shown: Images
) -> NDArray[np.float32]:
    """Return the logits, of shape NK, that `infer` gives to all images, BCHW in [0, 1]."""
    cpu = torch.device("cpu")
    return np.concatenate(
        [
            infer(shown.batch(slice(first, first + _BATCH), cpu).contiguous().numpy())
            for first in range(0, len(shown.y_N), _BATCH)
        ]
    )
