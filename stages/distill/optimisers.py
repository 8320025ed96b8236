"""The optimisers of student and generator; values that no setting names are madpipe's defaults."""

import torch
from torch import nn

from stages.distill.methods import Recipe

_MOMENTUM = 0.9
_BETAS = (0.5, 0.999)
"""Usual for generators."""


def of_student(student: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum, at the peak rate of the student's schedule."""
    return torch.optim.SGD(
        student.parameters(),
        lr=recipe.student_learning_rate,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=recipe.student_weight_decay,
        fused=True,
    )


def of_generator(generator: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Return Adam for a generator."""
    return torch.optim.Adam(generator.parameters(), lr=learning_rate, betas=_BETAS, fused=True)
