"""The EMA generator: a moving average of the generator, which forgets slowly."""

import copy

import torch
from torch import nn

from models.generator import Generator


def copied(generator: Generator, batch_norm: str) -> Generator:
    """Return the EMA generator at its start: a copy that no gradient reaches.

    Args:
        generator: The generator that it will follow.
        batch_norm: `batch`: it normalises by its own batch, as the generator does; `averaged`:
            by moving averages of the generator's running statistics.
    """
    ema = copy.deepcopy(generator).requires_grad_(requires_grad=False)
    return ema.train(batch_norm == "batch")


@torch.no_grad()
def follow(ema: nn.Module, generator: nn.Module, alpha: float, batch_norm: str) -> None:
    """Move the EMA: theta' <- alpha theta' + (1 - alpha) theta (Do et al. 2022).

    Running statistics move by the same formula where the EMA normalises by them; else they
    serve only whoever uses the EMA for inference, and are copied.
    """
    torch._foreach_lerp_(list(ema.parameters()), list(generator.parameters()), 1 - alpha)
    for mine, theirs in zip(ema.buffers(), generator.buffers(), strict=True):
        if batch_norm == "averaged" and mine.is_floating_point():
            mine.lerp_(theirs, 1 - alpha)
        else:
            mine.copy_(theirs)


class untracked:  # noqa: N801  (a context manager, used like a function)
    """Let networks in training mode run without moving their BatchNorm statistics."""

    def __init__(self, *networks: nn.Module) -> None:
        """Name the networks."""
        self._layers = [
            layer
            for network in networks
            for layer in network.modules()
            if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats
        ]

    def __enter__(self) -> None:
        """Stop the tracking."""
        for layer in self._layers:
            layer.track_running_stats = False

    def __exit__(self, *_: object) -> None:
        """Go on with it."""
        for layer in self._layers:
            layer.track_running_stats = True
