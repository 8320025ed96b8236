"""A classifier with its preprocessing inside: images in [0, 1] go in, logits come out.

Beside it, how the networks of the registry are initialised.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A backbone behind the normalisation that it was trained with."""

    mean_1C11: Tensor
    std_1C11: Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Wrap `backbone`; `mean` and `std` hold one number for each channel, of [0, 1] images."""
        super().__init__()
        self.backbone = backbone
        shape = (1, len(mean), 1, 1)
        self.register_buffer("mean_1C11", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std_1C11", torch.tensor(std).view(shape), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW with values in [0, 1]."""
        logits_BK: Tensor = self.backbone((x_BCHW - self.mean_1C11) / self.std_1C11)
        # A head that is a convolution leaves a map of one pixel: BK11.
        is_map = isinstance(logits_BK, Tensor) and logits_BK.ndim == x_BCHW.ndim
        return logits_BK.flatten(1) if is_map else logits_BK


def initialise(network: nn.Module) -> None:
    """Fill convolutions as He et al. 2015 did for rectifiers, by fan-out; their biases with 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
