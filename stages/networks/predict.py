"""Batched inference: the one loop in which networks, ONNX files and engines run over many images.

Engines are built without torch, which is imported where a network of it runs.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.image_bank import Images, StoredImages

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_CPU_BATCH_SIZE = 256
"""Another number gives other last bits."""
_CPU_BATCH_PIXELS = 8 * 224**2
"""Of one channel: larger batches of large images leave the caches, and are 2.5 times as slow."""
_GPU_BATCH_SIZE = 500
"""Divides the usual sets, so that no kernels are chosen for a smaller last batch."""
_GPU_BATCH_PIXELS = 40 * 224**2
"""Of one channel: what keeps the largest maps of a ResNet-50 within a gigabyte."""
_SESSION_BATCH_SIZE = 64
_PROGRESS_EVERY_S = 0.5

OnImages = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


class ImageSource(Protocol):
    """Images that become floats batch by batch, such as `stages.data.images.Images`."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def batch(self, indices: slice, device: "torch.device", /) -> "Tensor":
        """Return some images as floats in [0, 1], of shape BCHW, channels last."""


def predict(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: ImageSource | Images,
    *,
    batch_size: int | None = None,
    on_progress: OnImages = no_progress,
) -> NDArray[np.float32]:
    """Return the logits, of shape NK, that `infer` gives to all images.

    Args:
        infer: Takes contiguous floats in [0, 1] of shape BCHW and returns logits of shape BK.
        images: What to run: a source of images, or images in [0, 1] of shape NCHW.
        batch_size: Images in one call; the last has fewer where they do not divide. None: 64, or
            as many as their size allows.
        on_progress: Called with how many images are done, of how many.
    """

    def batch(rows: slice) -> NDArray[np.float32]:
        if isinstance(images, np.ndarray | StoredImages):
            return np.ascontiguousarray(images[rows])
        import torch  # noqa: PLC0415  (arrays alone need none)

        return np.ascontiguousarray(images.batch(rows, torch.device("cpu")).numpy())

    if batch_size is None:
        batch_size = min(_SESSION_BATCH_SIZE, cpu_batch_size(batch(slice(0, 1))[0, 0].size))
    batches = _batches(len(images), batch_size, on_progress)
    return np.concatenate([infer(batch(rows)) for rows in batches])


def predict_torch(
    network: "nn.Module",
    images: ImageSource,
    device: "torch.device",
    *,
    on_progress: OnImages = no_progress,
) -> "Tensor":
    """Return the logits, of shape NK, of a network in evaluation mode, on the CPU, in fp32.

    Also a network that is compiled for training runs as it is: compiling it once more, for this
    mode and batch, takes longer than the images do.
    """
    import torch  # noqa: PLC0415

    choose = cpu_batch_size if device.type == "cpu" else gpu_batch_size
    batch_size = choose(images.batch(slice(0, 1), device)[0, 0].numel())
    was_training = network.training
    network.eval()
    with torch.no_grad():
        logits_BK = [
            network.forward(images.batch(rows, device)).float()
            for rows in _batches(len(images), batch_size, on_progress)
        ]
    network.train(was_training)
    return torch.cat(logits_BK).cpu()


def _batches(count: int, batch_size: int, on_progress: OnImages) -> Iterator[slice]:
    """Yield the rows of one batch after the other, and report now and then."""
    on_progress(0, count)
    reported_s = time.monotonic()
    for first in range(0, count, batch_size):
        yield slice(first, first + batch_size)
        done = min(count, first + batch_size)
        if done == count or time.monotonic() - reported_s > _PROGRESS_EVERY_S:
            on_progress(done, count)
            reported_s = time.monotonic()


def cpu_batch_size(pixels: int) -> int:
    """Return how many images of so many pixels go through a network on the CPU at a time."""
    return min(_CPU_BATCH_SIZE, max(1, _CPU_BATCH_PIXELS // pixels))


def gpu_batch_size(pixels: int) -> int:
    """Return how many images of so many pixels go through a network on a GPU at a time."""
    return min(_GPU_BATCH_SIZE, max(1, _GPU_BATCH_PIXELS // pixels))


def top1_accuracy(logits_NK: "Tensor", y_N: "Tensor") -> float:
    """Return the share of rows, 0 to 1, whose largest logit is at the label."""
    return float((logits_NK.argmax(dim=1) == y_N).double().mean())
