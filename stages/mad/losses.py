"""The terms of the student's and the generator's loss: pure functions of logits.

Shape legend: B batch, K classes. All of it in fp32.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

KD = Callable[[Tensor, Tensor, float], Tensor]


def kl(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) of softened predictions, times T^2, mean over the batch.

    Hinton, Vinyals & Dean 2015, section 2.
    """
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student_BK / temperature, dim=1),
        functional.log_softmax(teacher_BK / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )


def l1(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    """Return the mean absolute difference of the logits (Fang et al. 2019, DFAD, equation 5)."""
    return (student_BK - teacher_BK).abs().mean()


DISTANCES: Mapping[str, KD] = {"kl": kl, "l1": l1}
"""Distances between student and teacher, by the name that the settings use."""


def one_hot(teacher_BK: Tensor) -> Tensor:
    """Return the cross-entropy of the teacher with its own decisions (Chen et al. 2019, DAFL)."""
    return functional.cross_entropy(teacher_BK, teacher_BK.argmax(dim=1))


def imbalance(teacher_BK: Tensor) -> Tensor:
    """Return the negative entropy of the teacher's mean prediction; least when balanced.

    Chen et al. 2019 (DAFL), the information-entropy term.
    """
    mean_K = teacher_BK.softmax(dim=1).mean(dim=0)
    return (mean_K * torch.log(mean_K + 1e-12)).sum()
