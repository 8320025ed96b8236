"""The teacher as the student's steps need it: no gradients, BatchNorm folded, low precision.

Shape legend: B batch, C channel, H W space, K classes.
"""

import copy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from models.classifier import NEED_FP32, Classifier, arithmetic, as_rows, to_logits
from models.programs.program import Program

_TOLERANCE = 1e-3


class FrozenTeacher(nn.Module):
    """A classifier for inference only; takes images in [0, 1], gives logits in fp32."""

    mean_1C11: Tensor
    std_1C11: Tensor

    def __init__(self, teacher: Classifier, backbone: nn.Module, dtype: torch.dtype) -> None:
        """Wrap a folded backbone, which runs in `dtype` from here on."""
        super().__init__()
        self.register_buffer("mean_1C11", teacher.mean_1C11)
        self.register_buffer("std_1C11", teacher.std_1C11)
        self.outputs = teacher.outputs
        self.dtype = torch.float32 if self.outputs in NEED_FP32 else dtype
        self.backbone = backbone.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return logits of shape BK in fp32."""
        h_BCHW = (x_BCHW - self.mean_1C11) / self.std_1C11
        with arithmetic(x_BCHW.device, self.outputs):
            outputs: Tensor = self.backbone(h_BCHW.to(self.dtype))
        return to_logits(as_rows(outputs, x_BCHW).float(), self.outputs)


@torch.no_grad()
def fold_batch_norm(
    teacher: Classifier, x_BCHW: Tensor, dtype: torch.dtype
) -> FrozenTeacher | None:
    """Return the teacher with BatchNorm folded into its layers, or None where that is not possible.

    Args:
        teacher: In eval mode.
        x_BCHW: Some images in [0, 1], on which the logits must be those of the teacher.
        dtype: Arithmetic of the folded one.
    """
    if isinstance(teacher.backbone, Program):  # it has operators, and no layers to fold
        return None
    device = x_BCHW.device
    # On the CPU, where fp32 is fp32: on a GPU the convolutions of both would be rounded to TF32.
    teacher, x_BCHW = copy.deepcopy(teacher).cpu(), x_BCHW.cpu()
    teacher_BK = teacher(x_BCHW)
    try:
        folded = fuse(copy.deepcopy(teacher.backbone), inplace=True)
        folded_BK = FrozenTeacher(teacher, folded, torch.float32)(x_BCHW)
    except Exception:  # noqa: BLE001  (a network of the user may resist tracing in any way)
        return None
    scale = teacher_BK.abs().max().clamp(min=1.0)
    is_same = (folded_BK - teacher_BK).abs().max() <= _TOLERANCE * scale
    if not torch.isfinite(folded_BK).all() or not is_same:
        return None
    frozen = FrozenTeacher(teacher, folded, dtype).to(device)
    return frozen.eval().requires_grad_(requires_grad=False)
