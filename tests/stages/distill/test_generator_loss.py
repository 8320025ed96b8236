"""The generator's loss is the weighted sum of the terms that the method has."""

import pytest
import torch

from pipeline.settings import Distill
from stages.distill import losses
from stages.distill.distributed.group import Group
from stages.distill.generator_loss import generator_loss
from stages.distill.methods import terms

TEACHER_BK = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.5]])
STUDENT_BK = torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5]])
Y_B = torch.tensor([0, 2])


def _loss(options: Distill, *, adversarial: bool = True) -> float:
    conditional = options.generator != "uncond"
    return generator_loss(
        terms(options),
        Group(),
        teacher_BK=TEACHER_BK,
        student_BK=STUDENT_BK if adversarial else None,
        moment_terms=[torch.tensor(0.5), torch.tensor(0.25)],
        y_B=Y_B if conditional else None,
        embedding_KZ=torch.full((3, 4), 5.0) if conditional else None,
    ).item()


def test_the_unconditional_terms() -> None:
    options = Distill(
        adversarial_weight=0.5, batch_norm_weight=2.0, one_hot_weight=3.0, balance_weight=4.0
    )
    wanted = (
        -0.5 * losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
        + 2.0 * 0.75
        + 3.0 * losses.one_hot(TEACHER_BK)
        + 4.0 * losses.imbalance(TEACHER_BK.softmax(1).mean(0))
    )
    assert _loss(options) == pytest.approx(wanted.item(), rel=1e-6)


def test_the_conditional_terms() -> None:
    options = Distill(
        generator="sum", delta=3.0, label_weight=2.0, norm_weight=0.1, batch_norm_weight=0.0
    )
    wanted = (
        -losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
        + 2.0 * losses.label_nll(TEACHER_BK, Y_B)
        + 0.1 * (10.0 - 3.0)
    )
    assert _loss(options) == pytest.approx(wanted.item(), rel=1e-5)


def test_dfad_is_the_negative_distance_alone() -> None:
    wanted = -losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
    assert _loss(Distill(method="dfad")) == pytest.approx(wanted.item(), rel=1e-6)


def test_pretraining_has_no_adversarial_term() -> None:
    options = Distill(batch_norm_weight=1.0, one_hot_weight=0.0, balance_weight=0.0)
    assert _loss(options, adversarial=False) == pytest.approx(0.75)
