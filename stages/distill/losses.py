"""The terms of the student's and the generator's loss: pure functions of logits.

Shape legend: B batch, K classes, Z embedding. All of it in fp32.
"""

import math
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


def js(student_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """Return the Jensen-Shannon divergence of softened predictions, times T^2, mean over the batch.

    JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2; between 0 and T^2 ln 2
    (Lin 1991, equation 3.3 with equal weights).
    """
    logp_BK = functional.log_softmax(student_BK / temperature, dim=1)
    logq_BK = functional.log_softmax(teacher_BK / temperature, dim=1)
    logm_BK = torch.logaddexp(logp_BK, logq_BK) - math.log(2.0)
    halves = [
        functional.kl_div(logm_BK, each_BK, log_target=True, reduction="batchmean")
        for each_BK in (logp_BK, logq_BK)
    ]
    return temperature**2 * (halves[0] + halves[1]) / 2


DISTANCES: Mapping[str, KD] = {"kl": kl, "l1": l1, "js": js}
"""Distances between student and teacher, by the name that the settings use."""


def one_hot(teacher_BK: Tensor) -> Tensor:
    """Return the cross-entropy of the teacher with its own decisions (Chen et al. 2019, DAFL)."""
    return functional.cross_entropy(teacher_BK, teacher_BK.argmax(dim=1))


def imbalance(mean_K: Tensor) -> Tensor:
    """Return the negative entropy of the teacher's mean prediction; least when balanced.

    Chen et al. 2019 (DAFL), the information-entropy term.

    Args:
        mean_K: The probabilities that the teacher gives, averaged over the batch.
    """
    return (mean_K * torch.log(mean_K + 1e-12)).sum()


def label_nll(teacher_BK: Tensor, y_B: Tensor) -> Tensor:
    """Return the negative log-likelihood that the teacher gives to the labels asked for.

    The class-conditional term of Do et al. 2022 (MAD).
    """
    return functional.cross_entropy(teacher_BK, y_B)


def excess_norm(embedding_KZ: Tensor, delta: float) -> Tensor:
    """Return the mean of max(||e_y||_2 - delta, 0) over the classes.

    The norm regulariser of Do et al. 2022 (MAD); that it is a mean of hinges on the norms of
    the embeddings is madpipe's reading.
    """
    return functional.relu(embedding_KZ.norm(dim=1) - delta).mean()
