"""Images in files: listed, read, scaled and cropped, alike for validation and calibration.

Shape legend: N images, B batch, C channels, H W space.
"""

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline import machine
from pipeline.stage import StageError
from stages.data.datasets import Spec
from stages.data.decode import UndecidedImage, decode

_NAMED_FAULTS = 3
_LONGEST = 16
"""Times the side to cut out that a scaled image may be long; of longer ones only the middle is
scaled, which may differ from torchvision's in the last bit."""


class ImageFiles:
    """Images of shape NCHW and type uint8 that lie in files; indexing reads some of them."""

    dtype = torch.uint8

    def __init__(self, paths: Sequence[str], spec: Spec) -> None:
        """Name the files, in order, and how their images are to be scaled and cropped."""
        self.paths = paths
        self.spec = spec

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return N, C, H and W."""
        size = self.spec.image_size_px
        return len(self.paths), self.spec.channels, size, size

    @property
    def size_bytes(self) -> int:
        """Return what all images take in memory."""
        return math.prod(self.shape)

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Read some images, of shape BCHW.

        Raises:
            StageError: Files are no images, or none that can be used.
        """
        if isinstance(indices, slice):
            paths = self.paths[indices]
        else:
            paths = [self.paths[i] for i in indices.tolist()]
        x_BHWC = read_images(
            paths,
            self.shape[1:],
            self.spec.resize_ratio,
            place="data.root",
            grey_remedy="convert them to grey, or give data.mean and data.std a number for each "
            "channel",
        )
        return torch.from_numpy(np.ascontiguousarray(x_BHWC.transpose(0, 3, 1, 2)))

    def select(self, indices_N: NDArray[np.int64]) -> "ImageFiles":
        """Return the files with these indices."""
        return ImageFiles([self.paths[i] for i in indices_N], self.spec)


def read_images(
    paths: Sequence[str],
    shape_CHW: tuple[int, int, int],
    resize_ratio: float,
    *,
    place: str,
    grey_remedy: str = "convert them to grey",
) -> NDArray[np.uint8]:
    """Read images and scale and crop them, as uint8 of shape NHWC.

    Args:
        paths: The files.
        shape_CHW: Of an image as the network takes it; C is 1 or 3.
        resize_ratio: See `scale_and_crop`.
        place: What named the files, for messages.
        grey_remedy: What to do where they are in colour and one channel is wanted.

    Raises:
        StageError: Files are no images, or none that can be used; says how many and names some.
    """
    channels, height, width = shape_CHW
    x_NHWC = np.empty((len(paths), height, width, channels), np.uint8)
    faulty: dict[tuple[str, str], list[str]] = {}

    def read(number: int) -> None:
        try:
            image = decode(paths[number], channels, grey_remedy)
        except UndecidedImage as error:
            faulty.setdefault((error.wrong, error.remedy), []).append(paths[number])
        else:
            pixels = np.asarray(scale_and_crop(image, (height, width), resize_ratio))
            x_NHWC[number] = pixels.reshape(height, width, channels)

    with ThreadPoolExecutor(machine.cpu_count()) as threads, warnings.catch_warnings():
        # Pillow warns of what is handled here: large images, transparency in palettes, odd EXIF.
        warnings.simplefilter("ignore")
        list(threads.map(read, range(len(paths))))
    for (wrong, remedy), files in sorted(faulty.items()):
        names = ", ".join(sorted(files)[:_NAMED_FAULTS])
        raise StageError(place, f"{len(files)} files {wrong} ({names})", remedy)
    return x_NHWC


def scale_and_crop(
    image: Image.Image, size_HW: tuple[int, int], resize_ratio: float
) -> Image.Image:
    """Scale the shorter side and cut out the middle, rounding as torchvision's transforms do.

    Args:
        image: Of any size.
        size_HW: Height and width to cut out.
        resize_ratio: Shorter side after scaling over the side that is cut out.
    """
    height, width = size_HW
    least_height, least_width = int(height * resize_ratio), int(width * resize_ratio)
    if image.width * least_height <= image.height * least_width:
        scaled = (least_width, int(least_width * image.height / image.width))
    else:
        scaled = (int(least_height * image.width / image.height), least_height)
    left, top = round((scaled[0] - width) / 2.0), round((scaled[1] - height) / 2.0)
    box = (left, top, left + width, top + height)
    if max(scaled) > _LONGEST * max(size_HW):
        by_x, by_y = image.width / scaled[0], image.height / scaled[1]
        middle = (box[0] * by_x, box[1] * by_y, box[2] * by_x, box[3] * by_y)
        return image.resize((width, height), Image.Resampling.BILINEAR, box=middle)
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    return image.crop(box)
