"""Exponential moving averages of networks: the EMA generator, and a teacher's averaged weights."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_Network = TypeVar("_Network", bound=nn.Module)


def ema_copy(network: _Network) -> _Network:
    """Return the average at its start: a copy of the network that no gradient reaches."""
    return copy.deepcopy(network).requires_grad_(requires_grad=False)


@torch.no_grad()
def ema_update(
    average: nn.Module, network: nn.Module, alpha: float, *, average_statistics: bool
) -> None:
    """Move the average towards the network: theta' <- alpha theta' + (1 - alpha) theta.

    The equation of the EMA generator of Do et al. 2022 (MAD).

    Args:
        average: What `ema_copy` returned.
        network: What it follows, of the same architecture.
        alpha: Momentum in [0, 1); 0 copies the network.
        average_statistics: Whether running statistics of BatchNorm move by the same formula,
            for an average that normalises by them; otherwise they are copied, as counters
            always are.
    """
    averages: list[Tensor] = list(average.parameters())
    currents: list[Tensor] = list(network.parameters())
    # Buffers that are not persistent are constants, such as masks with infinities.
    persistent = average.state_dict().keys() if average_statistics else ()
    for (name, buffer), current in zip(average.named_buffers(), network.buffers(), strict=True):
        if name in persistent and buffer.is_floating_point():
            averages.append(buffer)
            currents.append(current)
        else:
            buffer.copy_(current)
    get_ema_multi_avg_fn(alpha)(averages, currents, None)  # type: ignore[no-untyped-call]
