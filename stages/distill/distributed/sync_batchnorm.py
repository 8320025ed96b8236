"""BatchNorm over the batch of all processes, on CPU and GPU alike.

torch has it for GPUs only. Shape legend: B batch, C channel, H W space.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.stage import StageError
from stages.distill.distributed.group import Group


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that takes its statistics over all processes of a group."""

    group: Group

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise by the whole batch while training, by the running statistics otherwise."""
        if not (self.training and self.group.is_distributed):
            return super().forward(x_BCHW)
        with torch.autocast(x_BCHW.device.type, enabled=False):
            x32_BCHW = x_BCHW.float()
            mean_C, var_C = batch_moments(x32_BCHW, self.group)
            self._update_statistics(
                mean_C.detach(), var_C.detach(), x_BCHW.numel() // x_BCHW.shape[1]
            )
            scale_C = self.weight * torch.rsqrt(var_C + self.eps)
            shift_C = self.bias - mean_C * scale_C
            y_BCHW = x32_BCHW * scale_C[:, None, None] + shift_C[:, None, None]
        return y_BCHW.to(x_BCHW.dtype)

    def _update_statistics(self, mean_C: Tensor, var_C: Tensor, count: int) -> None:
        """Move the running statistics; `count` values of each channel are this process's."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        n = count * self.group.size
        momentum = self.momentum
        assert momentum is not None, "a layer without one is not converted"
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(var_C * (n / (n - 1)), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def batch_moments(x_BCHW: Tensor, group: Group) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel over the batch of all processes."""
    # Several times as fast on a CPU as a reduction over three dimensions at once.
    x_NC = x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])
    mean_C = x_NC.mean(dim=0)
    var_C = (x_NC - mean_C).square().mean(dim=0)
    if not group.is_distributed:
        return mean_C, var_C
    both_2C = group.mean(torch.stack([mean_C, var_C + mean_C.square()]))
    return both_2C[0], both_2C[1] - both_2C[0].square()


def convert_sync_batchnorm(network: nn.Module, group: Group) -> None:
    """Replace the BatchNorm layers inside `network` by ones over `group`; nothing for one process.

    Raises:
        StageError: It normalises by the batch in a way that cannot be shared.
    """
    if group.size == 1:
        return
    for name, child in list(network.named_children()):
        if type(child) is nn.BatchNorm2d and child.affine and child.momentum is not None:
            layer = SyncBatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum)
            layer.load_state_dict(child.state_dict())
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
