"""Images as a graph takes them: floats in [0, 1] of shape NCHW, or bytes of shape NHWC."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def taken(x_NCHW: NDArray[np.float32], *, is_bytes: bool) -> NDArray[Any]:
    """Return images in [0, 1] as they are, or as uint8 of shape NHWC."""
    if not is_bytes:
        return x_NCHW
    return np.ascontiguousarray(
        (x_NCHW * 255).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    )
