"""The losses of student and generator, and the terms that they are made of.

The student's loss is a distance between its logits and the teacher's. The generator seeks
images on which the two differ, and which look like data.

Shape legend: B batch, K classes, Z embedding. All of it in fp32.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stages.distill.distributed.group import Group

Distance = Callable[[Tensor, Tensor, float], Tensor]
"""Called with the logits of student and teacher, of shape BK, and a temperature."""


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
    kl_p = functional.kl_div(logm_BK, logp_BK, log_target=True, reduction="batchmean")
    kl_q = functional.kl_div(logm_BK, logq_BK, log_target=True, reduction="batchmean")
    return temperature**2 * (kl_p + kl_q) / 2


DISTANCES: Mapping[str, Distance] = {"kl": kl, "l1": l1, "js": js}
"""Distances between student and teacher, by the name that the settings use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """The distances between student and teacher, and the weights of the generator's terms."""

    distance: Distance
    """What the student makes small."""
    temperature: float
    disagreement: Distance
    """What the generator makes large."""
    disagreement_temperature: float
    adversarial: float
    batch_norm: float
    one_hot: float
    balance: float
    label: float
    norm: float
    delta: float
    """Bound on the norm of a class embedding."""


def student_loss(
    terms: LossTerms, student_BK: Tensor, teacher_BK: Tensor, weights: Sequence[float]
) -> Tensor:
    """Return the sum of the distances on each part of the batch, times the weight of the part.

    The parts are of equal size, one after the other.
    """
    loss = student_BK.new_zeros(())
    count = len(weights)
    parts = zip(student_BK.chunk(count), teacher_BK.chunk(count), weights, strict=True)
    for part_student_BK, part_teacher_BK, weight in parts:
        loss = loss + weight * terms.distance(part_student_BK, part_teacher_BK, terms.temperature)
    return loss


def generator_loss(
    terms: LossTerms,
    group: Group,
    *,
    teacher_BK: Tensor,
    student_BK: Tensor | None,
    bn_stats_terms: Sequence[Tensor],
    y_B: Tensor | None,
    embedding_KZ: Tensor | None,
    prior: Tensor | None = None,
) -> Tensor:
    """Return the weighted sum of the terms that the method has.

    Args:
        terms: The weights; a term of weight 0 is not computed.
        group: The processes that share the batch.
        teacher_BK: The teacher's logits of the generated images.
        student_BK: The student's; None while pretraining, which has no adversarial term.
        bn_stats_terms: What `BNStatsLoss` measured, one for each of the teacher's layers.
        y_B: The labels that a conditional generator got.
        embedding_KZ: Its class embeddings.
        prior: What else its images should be like, weighted already.
    """
    loss = teacher_BK.new_zeros(())
    if student_BK is not None and terms.adversarial:
        temperature = terms.disagreement_temperature
        disagreement = terms.disagreement(student_BK, teacher_BK, temperature)
        loss = loss - terms.adversarial * disagreement
    if bn_stats_terms and terms.batch_norm:
        loss = loss + terms.batch_norm * torch.stack(list(bn_stats_terms)).sum()
    if terms.one_hot:
        loss = loss + terms.one_hot * one_hot(teacher_BK)
    if terms.balance:
        mean_K = group.mean(teacher_BK.softmax(dim=1).mean(dim=0))
        loss = loss + terms.balance * class_balance(mean_K)
    if y_B is not None and terms.label:
        # The class-conditional term of Do et al. 2022 (MAD).
        loss = loss + terms.label * functional.cross_entropy(teacher_BK, y_B)
    if embedding_KZ is not None and terms.norm:
        loss = loss + terms.norm * excess_norm(embedding_KZ, terms.delta)
    return loss if prior is None else loss + prior


def one_hot(teacher_BK: Tensor) -> Tensor:
    """Return the cross-entropy of the teacher with its own decisions (Chen et al. 2019, DAFL)."""
    return functional.cross_entropy(teacher_BK, teacher_BK.argmax(dim=1))


def class_balance(mean_K: Tensor) -> Tensor:
    """Return the negative entropy of the teacher's probabilities averaged over the batch.

    Least when the classes are balanced (Chen et al. 2019, DAFL, the information-entropy term).
    """
    return (mean_K * torch.log(mean_K + 1e-12)).sum()


def excess_norm(embedding_KZ: Tensor, delta: float) -> Tensor:
    """Return the mean of max(||e_y||_2 - delta, 0) over the classes.

    The norm regulariser of Do et al. 2022 (MAD); that it is a mean of hinges on the norms of
    the embeddings is madpipe's reading.
    """
    return functional.relu(embedding_KZ.norm(dim=1) - delta).mean()
