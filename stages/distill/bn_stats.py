"""BatchNorm statistics: the loss that matches a teacher's, and passes that leave them as they are.

Shape legend: B batch, C channel, H W space.
"""

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from stages.distill.distributed.group import Group
from stages.distill.distributed.sync_batchnorm import batch_moments


class BNStatsLoss:
    """Distances between a batch's moments and those stored in a network's BatchNorm layers."""

    def __init__(self, network: nn.Module, group: Group | None = None) -> None:
        """Collect the BatchNorm layers that keep running statistics."""
        self._group = group or Group()
        self.layers = [
            module
            for module in network.modules()
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
        ]

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Tensor]]:
        """Yield a list that each forward pass fills with one term for each layer.

        A term is ||mean - running_mean||_2 + ||var - running_var||_2 of the layer's input
        (Yin et al. 2020, DeepInversion, equation 4).
        """
        terms: list[Tensor] = []

        def add_term(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, nn.BatchNorm2d)
            assert module.running_mean is not None
            assert module.running_var is not None
            mean_C, var_C = batch_moments(inputs[0].float(), self._group)
            difference = (mean_C - module.running_mean).norm()
            terms.append(difference + (var_C - module.running_var).norm())

        handles = [layer.register_forward_pre_hook(add_term) for layer in self.layers]
        try:
            yield terms
        finally:
            for handle in handles:
                handle.remove()


@contextlib.contextmanager
def untracked(*networks: nn.Module) -> Iterator[None]:
    """Let networks in training mode run without moving their BatchNorm statistics."""
    layers = [
        layer
        for network in networks
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
