"""Labelled images in memory, and the one function that loads them from any source."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data.specs import Spec, loader_module, spec_of

Split = tuple["np.ndarray", "np.ndarray"]


@dataclass(frozen=True, slots=True)
class Images:
    """Images and their labels.

    Shape legend: N images, C channels, H W space.
    """

    x_NCHW: Tensor
    """uint8."""
    y_N: Tensor
    """int64, below the number of classes."""
    classes: tuple[str, ...]

    def batch(self, indices: Tensor | slice, device: torch.device) -> Tensor:
        """Return some images as float in [0, 1], channels last."""
        x_BCHW = self.x_NCHW[indices].to(device=device, dtype=torch.float32) / 255.0
        return x_BCHW.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The images of a source, split once and for all."""

    train: Images
    held_out: Images
    spec: Spec


def load(data: Data, root: Path | None) -> Dataset:
    """Load a source.

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
    return Dataset(_images(train, classes, spec), _images(held_out, classes, spec), spec)


def _images(split: Split, classes: tuple[str, ...], spec: Spec) -> Images:
    x_NHWC, y_N = split
    size = spec.image_size_px
    if x_NHWC.shape[1:] != (size, size, spec.channels):
        raise StageError(
            "data",
            f"images are {x_NHWC.shape[1:]}, the settings say {(size, size, spec.channels)}",
            "correct data.image_size_px, or data.mean and data.std (one number a channel)",
        )
    x_NCHW = torch.from_numpy(np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)))
    return Images(x_NCHW, torch.from_numpy(y_N.astype(np.int64)), classes)
