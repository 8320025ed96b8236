"""The optimisers of the two that learn. Values that no setting names are madpipe's defaults."""

import torch
from torch import nn

from pipeline.settings import Distill

_ADAM_BETAS = (0.5, 0.999)
_MOMENTUM = 0.9


def of_student(student: nn.Module, options: Distill) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum; the schedule sets its rate at every step."""
    return torch.optim.SGD(
        student.parameters(),
        lr=options.student_learning_rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=options.student_weight_decay,
        fused=True,
    )


def of_generator(generator: nn.Module, options: Distill) -> torch.optim.Adam:
    """Return Adam with the betas usual for generators."""
    return torch.optim.Adam(
        generator.parameters(), lr=options.generator_learning_rate, betas=_ADAM_BETAS, fused=True
    )
