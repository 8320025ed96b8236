"""Images in files, decoded when they are asked for or all at once.

Shape legend: N images, B batch, C channels, H W space.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pipeline.stage import StageError
from stages.data.specs import Spec

_NAMED_FAULTS = 3
_GREY_MODES = {"1", "L", "LA", "I", "I;16", "F"}
_COLOUR_LEVELS = 32
"""Between the channels of a pixel; grey images in JPEG files have a few."""
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)
"""What Pillow raises for a file that is no whole image."""


class Files:
    """Images of shape NCHW and type uint8 that lie in files; indexing reads some of them."""

    dtype = torch.uint8

    def __init__(self, paths: Sequence[str], spec: Spec) -> None:
        """Name the files, in order, and how their images are to be scaled and cut."""
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
        count, channels, height, width = self.shape
        return count * channels * height * width

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Read some images, of shape BCHW.

        Raises:
            StageError: Files are no images, or in colour where one channel is wanted; says how
                many and names some.
        """
        if isinstance(indices, slice):
            return self._read(self.paths[indices])
        return self._read([self.paths[i] for i in indices.tolist()])

    def taken(self, indices_N: "np.ndarray") -> "Files":
        """Return the files with these indices."""
        return Files([self.paths[i] for i in indices_N], self.spec)

    def _read(self, paths: Sequence[str]) -> Tensor:
        _, channels, size, _ = self.shape
        x_BHWC = np.empty((len(paths), size, size, channels), np.uint8)
        faults: list[str] = []
        coloured: list[str] = []

        def read(number: int) -> None:
            try:
                x_BHWC[number] = _pixels(paths[number], self.spec)
            except _Coloured:
                coloured.append(paths[number])
            except _UNREADABLE:
                faults.append(paths[number])

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(read, range(len(paths))))
        if faults:
            named = ", ".join(sorted(faults)[:_NAMED_FAULTS])
            raise StageError(
                "data.root",
                f"{len(faults)} files are no readable images ({named})",
                "remove or repair them",
            )
        if coloured:
            raise StageError(
                "data.root",
                f"{len(coloured)} files are in colour, and the images have one channel "
                f"({', '.join(sorted(coloured)[:_NAMED_FAULTS])})",
                "convert them to grey, or give data.mean and data.std a number for each channel",
            )
        return torch.from_numpy(np.ascontiguousarray(x_BHWC.transpose(0, 3, 1, 2)))


class _Coloured(Exception):
    """An image has more channels than the network takes, so that converting it loses some."""


def _pixels(path: str, spec: Spec) -> "np.ndarray":
    with Image.open(path) as image:
        if spec.channels == 1 and _is_coloured(image):
            raise _Coloured
        fitted = _fitted(image.convert("L" if spec.channels == 1 else "RGB"), spec)
        return np.asarray(fitted).reshape(spec.image_size_px, spec.image_size_px, spec.channels)


def _is_coloured(image: Image.Image) -> bool:
    if image.mode in _GREY_MODES:
        return False
    spread_HW = np.ptp(np.asarray(image.convert("RGB")).astype(np.int16), axis=2)
    return bool((spread_HW > _COLOUR_LEVELS).any())


def _fitted(image: Image.Image, spec: Spec) -> Image.Image:
    """Scale the shorter side and cut out the middle, rounding as torchvision's transforms do."""
    size = spec.image_size_px
    short = int(size * spec.resize_ratio)
    width, height = image.size
    if width <= height:
        scaled = (short, int(short * height / width))
    else:
        scaled = (int(short * width / height), short)
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2.0) for side in scaled)
    return image.crop((left, top, left + size, top + size))
