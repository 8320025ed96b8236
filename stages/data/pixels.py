"""From a decoded image to the array that a network takes; a package's example holds a copy.

Stands alone: numpy and Pillow, nothing of ours, so that the copy computes the same to the bit.

Shape legend: H W space, C channel.
"""

import numpy as np
from PIL import Image

_LONGEST = 16
"""Times the side to cut out that a scaled image may be long; of longer ones only the middle is
scaled, which may differ from torchvision's in the last bit."""
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def scale_and_crop(
    image: Image.Image, size_HW: tuple[int, int], resize_px: int | None, interpolation: str
) -> Image.Image:
    """Scale the shorter side and cut out the middle, to the bit as torchvision's transforms do.

    Args:
        image: Of any size.
        size_HW: Height and width to cut out.
        resize_px: What the shorter side becomes before, at least what is cut out; None: as much.
        interpolation: A name in `INTERPOLATIONS`.
    """
    height, width = size_HW
    shorter = min(height, width)
    resize_px = max(resize_px or shorter, shorter)
    least_height, least_width = height * resize_px // shorter, width * resize_px // shorter
    if image.width * least_height <= image.height * least_width:
        scaled = (least_width, int(least_width * image.height / image.width))
    else:
        scaled = (int(least_height * image.width / image.height), least_height)
    left, top = round((scaled[0] - width) / 2.0), round((scaled[1] - height) / 2.0)
    box = (left, top, left + width, top + height)
    if max(scaled) > _LONGEST * max(size_HW):
        by_x, by_y = image.width / scaled[0], image.height / scaled[1]
        middle = (box[0] * by_x, box[1] * by_y, box[2] * by_x, box[3] * by_y)
        return image.resize((width, height), INTERPOLATIONS[interpolation], box=middle)
    if scaled != image.size:
        image = image.resize(scaled, INTERPOLATIONS[interpolation])
    return image.crop(box)


def prepared(
    image: Image.Image | np.ndarray,
    channels: int,
    size_HW: tuple[int, int],
    resize_px: int | None,
    interpolation: str,
) -> np.ndarray:
    """Return a decoded image, scaled and cut, as uint8 of shape HWC; see `scale_and_crop`.

    Of an array of shape HWC each channel is scaled as a grey picture.
    """
    scaling = size_HW, resize_px, interpolation
    if isinstance(image, Image.Image):
        return np.asarray(scale_and_crop(image, *scaling)).reshape(*size_HW, channels)
    planes = (Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(channels))
    return np.stack([np.asarray(scale_and_crop(plane, *scaling)) for plane in planes], axis=-1)
