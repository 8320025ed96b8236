"""A classifier with its preprocessing inside: images in [0, 1] go in, logits come out.

Beside it, how the networks of the registry are initialised.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.output_kind import OutputKind

_LEAST_PROBABILITY = 1e-30


class Classifier(nn.Module):
    """A backbone behind the normalisation that it was trained with."""

    mean_1C11: Tensor
    std_1C11: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        outputs: OutputKind = "logits",
    ) -> None:
        """Wrap `backbone`; `mean` and `std` hold one number for each channel, of [0, 1] images.

        What it gives besides logits is turned into them.
        """
        super().__init__()
        self.backbone = backbone
        self.outputs = outputs
        shape = (1, len(mean), 1, 1)
        self.register_buffer("mean_1C11", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std_1C11", torch.tensor(std).view(shape), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK for images of shape BCHW with values in [0, 1]."""
        logits_BK: Tensor = self.backbone((x_BCHW - self.mean_1C11) / self.std_1C11)
        # A head that is a convolution leaves a map of one pixel: BK11.
        is_map = isinstance(logits_BK, Tensor) and logits_BK.ndim == x_BCHW.ndim
        return to_logits(logits_BK.flatten(1) if is_map else logits_BK, self.outputs)


def to_logits(outputs: Tensor, kind: OutputKind) -> Tensor:
    """Return logits of shape BK for what a network gives."""
    return outputs if kind == "logits" else _TO_LOGITS[kind](outputs.float())


def _of_one_logit(outputs: Tensor) -> Tensor:
    """Return [0, z], of which softmax gives sigmoid(z) to the second class."""
    z_B1 = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(z_B1), z_B1], dim=1)


def _of_one_probability(outputs: Tensor) -> Tensor:
    p_B1 = outputs.reshape(-1, 1)
    return torch.cat([1 - p_B1, p_B1], dim=1).clamp_min(_LEAST_PROBABILITY).log()


_TO_LOGITS: Mapping[OutputKind, Callable[[Tensor], Tensor]] = {
    "probabilities": lambda p_BK: p_BK.clamp_min(_LEAST_PROBABILITY).log(),
    "one-logit": _of_one_logit,
    "one-probability": _of_one_probability,
}


def initialise(network: nn.Module) -> None:
    """Fill convolutions as He et al. 2015 did for rectifiers, by fan-out; their biases with 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
