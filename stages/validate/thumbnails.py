"""Images as small files for a page: lossless where they are small, of bounded size always.

Shape legend: C channel, H W space.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST_PX = 224
_JPEG_QUALITIES = (90, 80, 65, 50, 35)
_RGB = 3


def encode(x_CHW: NDArray[np.uint8], most_bytes: int) -> bytes:
    """Return an image as PNG, or as JPEG where a PNG would have more than `most_bytes`.

    Of more than three channels the first three are drawn, of two the first. Sides are `LARGEST_PX`
    at most, and less where an image of that size does not fit.
    """
    x_HWC = np.ascontiguousarray(x_CHW.transpose(1, 2, 0))
    image = Image.fromarray(x_HWC[..., :_RGB] if len(x_CHW) >= _RGB else x_HWC[..., 0])
    side_px = LARGEST_PX
    while True:
        image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        content = _saved(image, "PNG")
        qualities = iter(_JPEG_QUALITIES)
        while len(content) > most_bytes and (quality := next(qualities, None)):
            content = _saved(image, "JPEG", quality=quality)
        if len(content) <= most_bytes or side_px == 1:
            return content
        side_px //= 2


def _saved(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, optimize=True, **options)
    return buffer.getvalue()
