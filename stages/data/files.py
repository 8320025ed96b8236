"""Images in files: listed, read, scaled and cropped, alike for validation and calibration.

Shape legend: N images, B batch, C channels, H W space.
"""

import math
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import machine
from pipeline.preprocessing import Preprocessing
from pipeline.stage import StageError
from stages.data import pixels
from stages.data.datasets import Spec
from stages.data.decode import ARRAYS, MODES, UndecidedImage, decode
from stages.networks.predict import OnImages, no_progress

_NAMED_FAULTS = 3
_PROGRESS_EVERY_S = 0.5


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
        return len(self.paths), self.spec.channels, *self.spec.size_px

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
        return self._read(paths, no_progress)

    def read_all(self, on_progress: OnImages) -> Tensor:
        """Read all images, of shape NCHW, and report how many are read; errors are as above."""
        return self._read(self.paths, on_progress)

    def _read(self, paths: Sequence[str], on_progress: OnImages) -> Tensor:
        channels = self.spec.channels
        if channels not in MODES and any(not path.lower().endswith(ARRAYS) for path in paths):
            raise StageError(
                "data.mean",
                f"images in files have 1, 3 or 4 channels ({channels} numbers)",
                f"save them as .npy, uint8 of shape (height, width, {channels}), or set "
                'validate.images = "bank"',
            )
        x_BHWC = read_images(
            paths,
            self.spec.preprocessing(),
            place="data.root",
            grey_remedy="convert them to grey, or give data.mean and data.std a number for each "
            "channel",
            on_progress=on_progress,
        )
        return torch.from_numpy(np.ascontiguousarray(x_BHWC.transpose(0, 3, 1, 2)))

    def select(self, indices_N: NDArray[np.int64]) -> "ImageFiles":
        """Return the files with these indices."""
        return ImageFiles([self.paths[i] for i in indices_N], self.spec)


def read_images(
    paths: Sequence[str],
    preprocessing: Preprocessing,
    *,
    place: str,
    grey_remedy: str = "convert them to grey",
    on_progress: OnImages = no_progress,
) -> NDArray[np.uint8]:
    """Read images and scale and crop them, as uint8 of shape NHWC.

    Args:
        paths: The files.
        preprocessing: What becomes of them; channels are 1, 3 or 4 where they are no arrays.
        place: What named the files, for messages.
        grey_remedy: What to do where they are in colour and one channel is wanted.
        on_progress: Called now and then with how many are read, of how many.

    Raises:
        StageError: Files are no images, or none that can be used; says how many and names some.
    """
    channels, (height, width) = preprocessing.channels, preprocessing.size_px
    x_NHWC = np.empty((len(paths), height, width, channels), np.uint8)
    faulty: dict[tuple[str, str], list[str]] = {}

    def read(number: int) -> None:
        try:
            image = decode(paths[number], channels, grey_remedy)
        except UndecidedImage as error:
            faulty.setdefault((error.wrong, error.remedy), []).append(paths[number])
        else:
            x_NHWC[number] = pixels.prepared(
                image,
                channels,
                preprocessing.size_px,
                preprocessing.resize_px,
                preprocessing.interpolation,
            )

    with ThreadPoolExecutor(machine.cpu_count()) as threads, warnings.catch_warnings():
        # Pillow warns of what is handled here: large images, transparency in palettes, odd EXIF.
        warnings.simplefilter("ignore")
        reported_s = time.monotonic()
        try:
            for done, _ in enumerate(threads.map(read, range(len(paths))), 1):
                if time.monotonic() - reported_s > _PROGRESS_EVERY_S:
                    on_progress(done, len(paths))
                    reported_s = time.monotonic()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    for (wrong, remedy), files in sorted(faulty.items()):
        names = ", ".join(sorted(files)[:_NAMED_FAULTS])
        raise StageError(place, f"{len(files)} files {wrong} ({names})", remedy)
    return x_NHWC
