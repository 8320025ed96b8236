"""Predictions of torch networks over many images."""

import torch
from torch import Tensor, nn

from stages.data.images import Images

_BATCH = 256


def predict(network: nn.Module, images: Images, device: torch.device) -> Tensor:
    """Return the logits of shape NK of all images, on the CPU, in fp32."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        parts = [
            network(images.batch(slice(first, first + _BATCH), device)).float().cpu()
            for first in range(0, len(images.y_N), _BATCH)
        ]
    network.train(was_training)
    return torch.cat(parts)


def top1(logits_NK: Tensor, y_N: Tensor) -> float:
    """Return the share of rows whose largest logit is at the label."""
    return float((logits_NK.argmax(dim=1) == y_N).double().mean())
