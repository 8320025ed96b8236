"""BatchNorm in a distillation: over all processes, matched to a teacher's, or left as it is.

Shape legend: B batch, C channel, H W space.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.programs.moment_tap import MomentTap
from pipeline.stage import StageError
from stages.distill.distributed.group import Group

_IMAGE_DIMS = 4


class BNStatsLoss(nn.Module):
    """A network with the distances between a batch's moments and its BatchNorm layers'.

    Both come out of one forward pass, so that they can be compiled as one.
    """

    def __init__(self, network: nn.Module, group: Group | None = None) -> None:
        """Watch the BatchNorm layers of `network` that keep running statistics."""
        super().__init__()
        self.network = network
        self.layers = statistics_layers(network)
        self._group = group or Group()
        self._terms: list[Tensor] | None = None
        for layer in self.layers:
            layer.register_forward_pre_hook(self._add_term)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the network's output and one term for each pass of a layer.

        A term is ||mean - running_mean||_2 + ||var - running_var||_2 of the layer's input
        (Yin et al. 2020, DeepInversion, equation 4).
        """
        terms: list[Tensor] = []
        self._terms = terms
        logits_BK: Tensor = self.network(x_BCHW)
        self._terms = None
        return logits_BK, terms

    def _add_term(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A program may normalise vectors too, in which no places share a mean.
        if self._terms is None or inputs[0].ndim != _IMAGE_DIMS:
            return
        assert isinstance(layer, nn.BatchNorm2d | MomentTap)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean_C, var_C = batch_moments(inputs[0].float(), self._group)
        difference = (mean_C - layer.running_mean).norm()
        self._terms.append(difference + (var_C - layer.running_var).norm())


def statistics_layers(network: nn.Module) -> list[nn.BatchNorm2d | MomentTap]:
    """Return the layers of a network whose running statistics a batch can be held against."""
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d | MomentTap) and module.running_mean is not None
    ]


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


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm with statistics over a group of processes; torch's own is for GPUs only."""

    group: Group
    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise by the whole batch while training, by the running statistics otherwise."""
        if not (self.training and self.group.is_distributed):
            return super().forward(x_BCHW)
        with torch.autocast(x_BCHW.device.type, enabled=False):
            x32_BCHW = x_BCHW.float()
            mean_C, var_C = batch_moments(x32_BCHW, self.group)
            if self.track_running_stats:
                n = x_BCHW.numel() // x_BCHW.shape[1] * self.group.size
                self.running_mean.lerp_(mean_C.detach(), self.momentum)
                self.running_var.lerp_(var_C.detach() * (n / (n - 1)), self.momentum)
                self.num_batches_tracked.add_(1)
            scale_C = self.weight * torch.rsqrt(var_C + self.eps)
            shift_C = self.bias - mean_C * scale_C
            y_BCHW = x32_BCHW * scale_C[:, None, None] + shift_C[:, None, None]
        return y_BCHW.to(x_BCHW.dtype)


def batch_moments(x_BCHW: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel over the batch of all processes."""
    if x_BCHW.is_cuda:
        var_C, mean_C = torch.var_mean(x_BCHW, dim=(0, 2, 3), correction=0)
    else:
        # Several times as fast on a CPU as a reduction over three dimensions at once.
        x_NC = x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])
        mean_C = x_NC.mean(dim=0)
        var_C = (x_NC - mean_C).square().mean(dim=0)
    if not group.is_distributed:
        return mean_C, var_C
    both_2C = group.mean(torch.stack([mean_C, var_C + mean_C.square()]))
    # The difference of two large numbers may be rounded to less than nothing.
    return both_2C[0], (both_2C[1] - both_2C[0].square()).clamp(min=0)


def convert_sync_batchnorm(network: nn.Module, group: Group) -> None:
    """Replace the BatchNorm layers inside `network` by ones over `group`; nothing for one process.

    Raises:
        StageError: It normalises by the batch in a way that cannot be shared.
    """
    if group.size == 1:
        return
    for name, child in list(network.named_children()):
        if type(child) is nn.BatchNorm2d and child.affine and child.momentum is not None:
            layer = SyncBatchNorm2d(
                child.num_features, child.eps, child.momentum, device=child.weight.device
            )
            layer.load_state_dict(child.state_dict())
            for own, parameter in zip(layer.parameters(), child.parameters(), strict=True):
                own.requires_grad_(parameter.requires_grad)
            layer.train(child.training)
            layer.group = group
            setattr(network, name, layer)
        elif isinstance(child, _BatchNorm) and not isinstance(child, SyncBatchNorm2d):
            raise StageError(
                "distill.processes",
                f"only BatchNorm2d with weights and a momentum is shared among processes ({child})",
                "set distill.processes = 1",
            )
        else:
            convert_sync_batchnorm(child, group)
