"""A classifier with its preprocessing inside: images in [0, 1] go in, logits come out.

Beside it, how the networks of the registry are initialised.

Shape legend: B batch, C channel, H W space, K classes.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from models.output_kind import OutputKind

_LEAST_PROBABILITY = 1e-30
_LEAST_REST = torch.finfo(torch.float32).eps / 4
"""What is left of 1 where a probability in fp32 is rounded to it, about in the middle."""

NEED_FP32: frozenset[OutputKind] = frozenset({"one-probability"})
"""What less than fp32 loses: in bf16 all above 0.998 is 1, which leaves nothing for the other
class."""


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
        h_BCHW = (x_BCHW - self.mean_1C11) / self.std_1C11
        with arithmetic(h_BCHW.device, self.outputs):
            logits_BK: Tensor = self.backbone(h_BCHW)
        return to_logits(as_rows(logits_BK, x_BCHW), self.outputs)


def arithmetic(device: torch.device, kind: OutputKind) -> AbstractContextManager[object]:
    """Return the context in which a network runs that gives what `kind` says."""
    if kind in NEED_FP32:
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def as_rows(outputs: Tensor, x_BCHW: Tensor) -> Tensor:
    """Return outputs of shape BK: a head that is a convolution leaves a map of one pixel, BK11."""
    is_map = isinstance(outputs, Tensor) and outputs.ndim == x_BCHW.ndim
    return outputs.flatten(1) if is_map else outputs


def to_logits(outputs: Tensor, kind: OutputKind) -> Tensor:
    """Return logits of shape BK for what a network gives."""
    return outputs if kind == "logits" else _TO_LOGITS[kind](outputs.float())


def _of_one_logit(outputs: Tensor) -> Tensor:
    """Return [0, z], of which softmax gives sigmoid(z) to the second class."""
    z_B1 = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(z_B1), z_B1], dim=1)


def _of_one_probability(outputs: Tensor) -> Tensor:
    p_B1 = outputs.reshape(-1, 1)
    rest_B1 = (1 - p_B1).clamp_min(_LEAST_REST)
    return torch.cat([rest_B1.log(), p_B1.clamp_min(_LEAST_PROBABILITY).log()], dim=1)


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
