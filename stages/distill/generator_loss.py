"""The generator's loss: images on which student and teacher differ, and which look like data.

Shape legend: B batch, K classes, Z embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.distill import losses
from stages.distill.distributed.group import Group
from stages.distill.methods import Terms


def generator_loss(
    terms: Terms,
    group: Group,
    *,
    teacher_BK: Tensor,
    student_BK: Tensor | None,
    moment_terms: Sequence[Tensor],
    y_B: Tensor | None,
    embedding_KZ: Tensor | None,
) -> Tensor:
    """Return the weighted sum of the terms that the method has.

    Args:
        terms: The weights; a term of weight 0 is not computed.
        group: The processes that share the batch.
        teacher_BK: The teacher's logits of the generated images.
        student_BK: The student's; None while pretraining, which has no adversarial term.
        moment_terms: What the teacher's BatchNorm layers measured, one for each layer.
        y_B: The labels that a conditional generator was given.
        embedding_KZ: Its class embeddings.
    """
    loss = teacher_BK.new_zeros(())
    if student_BK is not None and terms.adversarial:
        distance = terms.distance(student_BK, teacher_BK, terms.temperature)
        loss = loss - terms.adversarial * distance
    if moment_terms and terms.batch_norm:
        loss = loss + terms.batch_norm * torch.stack(list(moment_terms)).sum()
    if terms.one_hot:
        loss = loss + terms.one_hot * losses.one_hot(teacher_BK)
    if terms.balance:
        mean_K = group.mean(teacher_BK.softmax(dim=1).mean(dim=0))
        loss = loss + terms.balance * losses.imbalance(mean_K)
    if y_B is not None and terms.label:
        loss = loss + terms.label * losses.label_nll(teacher_BK, y_B)
    if embedding_KZ is not None and terms.norm:
        loss = loss + terms.norm * losses.excess_norm(embedding_KZ, terms.delta)
    return loss
