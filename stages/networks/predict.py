"""Batched inference: the one loop in which networks, ONNX files and engines run over many images.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_TORCH_BATCH_SIZE = 256
"""Another number gives other last bits."""
_GPU_BATCH_SIZE = 500
"""Divides the usual sets, so that no kernels are chosen for a smaller last batch."""
_GPU_BATCH_PIXELS = 40 * 224**2
"""Of one channel: what keeps the largest maps of a ResNet-50 within a gigabyte."""


class ImageSource(Protocol):
    """Images that become floats batch by batch, such as `stages.data.images.Images`."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def batch(self, indices: slice, device: torch.device, /) -> Tensor:
        """Return some images as floats in [0, 1], of shape BCHW, channels last."""


def predict(
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    images: ImageSource | NDArray[np.float32],
    *,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Return the logits, of shape NK, that `infer` gives to all images.

    Args:
        infer: Takes contiguous floats in [0, 1] of shape BCHW and returns logits of shape BK.
        images: What to run: a source of images, or floats in [0, 1] of shape NCHW.
        batch_size: Images in one call; the last has fewer where they do not divide.
    """
    logits_BK = []
    for first in range(0, len(images), batch_size):
        rows = slice(first, first + batch_size)
        if isinstance(images, np.ndarray):
            x_BCHW = images[rows]
        else:
            x_BCHW = images.batch(rows, torch.device("cpu")).numpy()
        logits_BK.append(infer(np.ascontiguousarray(x_BCHW)))
    return np.concatenate(logits_BK)


def predict_torch(network: nn.Module, images: ImageSource, device: torch.device) -> Tensor:
    """Return the logits, of shape NK, of a network in evaluation mode, on the CPU, in fp32.

    Also a network that is compiled for training runs as it is: compiling it once more, for this
    mode and batch, takes longer than the images do.
    """
    batch_size = _TORCH_BATCH_SIZE
    if device.type != "cpu":
        batch_size = gpu_batch_size(images.batch(slice(0, 1), device)[0, 0].numel())
    was_training = network.training
    network.eval()
    with torch.no_grad():
        logits_BK = [
            network.forward(images.batch(slice(first, first + batch_size), device)).float()
            for first in range(0, len(images), batch_size)
        ]
    network.train(was_training)
    return torch.cat(logits_BK).cpu()


def gpu_batch_size(pixels: int) -> int:
    """Return how many images of so many pixels go through a network on a GPU at a time."""
    return min(_GPU_BATCH_SIZE, max(1, _GPU_BATCH_PIXELS // pixels))


def top1_accuracy(logits_NK: Tensor, y_N: Tensor) -> float:
    """Return the share of rows, 0 to 1, whose largest logit is at the label."""
    return float((logits_NK.argmax(dim=1) == y_N).double().mean())
