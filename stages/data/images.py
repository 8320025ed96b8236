"""Labelled images, and the one function that loads them from any source.

Shape legend: N images, B batch, C channels, H W space.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data.files import Files
from stages.data.specs import Spec, loader_module, spec_of

_LIMIT_SEED = 0
_MEMORY_BYTES = 2 << 30

Split = tuple["np.ndarray | Files", "np.ndarray"]
Parts = tuple[Split, Split, tuple[str, ...]]
"""The training and the held-out part, each as uint8 NHWC or files and labels, and the classes."""


class Pixels(Protocol):
    """uint8 images of shape NCHW: a tensor, or files that are read when they are indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return N, C, H and W."""

    @property
    def dtype(self) -> torch.dtype:
        """Return uint8."""

    def __getitem__(self, indices: Tensor | slice, /) -> Tensor:
        """Return some images, of shape BCHW."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images and their labels."""

    x_NCHW: Pixels
    """uint8, in memory or in files."""
    y_N: Tensor
    """int64, below the number of classes."""
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self.y_N)

    def batch(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """Return some images as float in [0, 1], channels last.

        Raises:
            StageError: They lie in files that are no images.
        """
        x_BCHW = self.x_NCHW[indices].to(device=device, dtype=torch.float32) / 255.0
        return x_BCHW.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a source, split once and for all."""

    train: Images
    held_out: Images
    spec: Spec


def load(data: Data, root: Path | None) -> Dataset:
    """Load a source; one of more than 2 GiB stays in its files.

    Args:
        data: The settings of the source.
        root: Its folder, None for a source without files.

    Raises:
        StageError: Files are missing or do not fit.
    """
    spec = spec_of(data)
    train, held_out, classes = importlib.import_module(loader_module(data.source)).load(
        data, spec, root
    )
    limited = _limited(held_out, data.held_out_limit)
    return Dataset(_images(train, classes, spec), _images(limited, classes, spec), spec)


def _limited(split: Split, limit: int | None) -> Split:
    """Return at most `limit` images of a part, drawn once and for all."""
    x, y_N = split
    if limit is None or limit >= len(y_N):
        return split
    order_N = np.random.default_rng(_LIMIT_SEED).permutation(len(y_N))
    kept_N = np.sort(order_N[:limit])
    return (x.taken(kept_N) if isinstance(x, Files) else x[kept_N]), y_N[kept_N]


def _images(split: Split, classes: tuple[str, ...], spec: Spec) -> Images:
    x, y_N = split
    labels_N = torch.from_numpy(y_N.astype(np.int64))
    if isinstance(x, Files):
        pixels: Pixels = x[:] if x.size_bytes <= _MEMORY_BYTES else x
        return Images(pixels, labels_N, classes)
    size = spec.image_size_px
    if x.shape[1:] != (size, size, spec.channels):
        raise StageError(
            "data",
            f"images are {x.shape[1:]}, the settings say {(size, size, spec.channels)}",
            "correct data.image_size_px, or data.mean and data.std (one number a channel)",
        )
    x_NCHW = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return Images(x_NCHW, labels_N, classes)
