"""The losses and their terms against values worked out by hand."""

import math
import typing

import pytest
import torch
from torch.nn import functional

from pipeline.settings import Distill
from pipeline.settings.distill import LossName
from stages.distill import losses
from stages.distill.distributed.group import Group
from stages.distill.methods import loss_terms

LN3 = math.log(3)
TEACHER_BK = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.5]])
STUDENT_BK = torch.tensor([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5]])
Y_B = torch.tensor([0, 2])


def test_kl_is_from_teacher_to_student_as_worked_out_by_hand() -> None:
    student_BK = torch.tensor([[0.0, LN3]])  # 1/4, 3/4
    teacher_BK = torch.tensor([[0.0, 0.0]])  # 1/2, 1/2
    by_hand = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert losses.kl(student_BK, teacher_BK, 1.0).item() == pytest.approx(by_hand, rel=1e-6)


def test_kl_is_not_symmetric() -> None:
    one_BK, other_BK = torch.tensor([[0.0, LN3]]), torch.tensor([[0.0, 0.0]])
    by_hand = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert losses.kl(other_BK, one_BK, 1.0).item() == pytest.approx(by_hand, rel=1e-6)


def test_kl_is_the_mean_over_the_batch() -> None:
    student_BK = torch.tensor([[0.0, LN3], [0.0, 0.0]])
    teacher_BK = torch.zeros(2, 2)
    alone = losses.kl(student_BK[:1], teacher_BK[:1], 1.0)
    assert losses.kl(student_BK, teacher_BK, 1.0).item() == pytest.approx(alone.item() / 2)


def test_kl_softens_by_the_temperature_and_multiplies_by_its_square() -> None:
    student_BK, teacher_BK = torch.tensor([[0.0, LN3]]), torch.tensor([[1.0, 0.5]])
    plain = losses.kl(student_BK, teacher_BK, 1.0).item()
    softened = losses.kl(student_BK * 4, teacher_BK * 4, 4.0).item()
    assert softened == pytest.approx(16 * plain, rel=1e-5)


def test_l1_is_the_mean_absolute_difference_of_the_logits_at_any_temperature() -> None:
    student_BK = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    teacher_BK = torch.tensor([[0.0, 2.0], [5.0, 8.0]])
    assert losses.l1(student_BK, teacher_BK, 1.0).item() == 1.75
    assert losses.l1(student_BK, teacher_BK, 20.0).item() == 1.75


@pytest.mark.parametrize("name", sorted(losses.DISTANCES))
def test_every_distance_is_zero_between_equals_and_above_it_elsewhere(name: str) -> None:
    logits_BK = torch.tensor([[1.0, -2.0, 0.5]])
    distance = losses.DISTANCES[name]
    assert distance(logits_BK, logits_BK.clone(), 2.0).item() == pytest.approx(0.0, abs=1e-7)
    assert distance(logits_BK, logits_BK.flip(1), 2.0).item() > 0


def test_the_distances_are_those_that_the_settings_name() -> None:
    assert set(losses.DISTANCES) == set(typing.get_args(LossName))


def test_one_hot_is_the_cross_entropy_with_the_largest_logit() -> None:
    teacher_BK = torch.tensor([[0.0, LN3], [LN3, 0.0]])
    assert losses.one_hot(teacher_BK).item() == pytest.approx(-math.log(0.75), rel=1e-6)


def test_class_balance_is_least_for_a_batch_spread_over_all_classes() -> None:
    mean_K = torch.tensor([[50.0, 0.0], [0.0, 50.0]]).softmax(dim=1).mean(dim=0)
    assert losses.class_balance(mean_K).item() == pytest.approx(-math.log(2), rel=1e-5)


def test_class_balance_is_zero_and_finite_for_a_batch_of_one_class() -> None:
    mean_K = torch.tensor([[200.0, 0.0], [200.0, 0.0]]).softmax(dim=1).mean(dim=0)
    assert losses.class_balance(mean_K).item() == pytest.approx(0.0, abs=1e-6)


def test_js_of_opposite_certainties_is_ln_2_and_of_equals_0() -> None:
    sure_BK = torch.tensor([[80.0, 0.0], [0.0, 80.0]])
    assert losses.js(sure_BK, sure_BK.flip(1), 1.0).item() == pytest.approx(math.log(2), rel=1e-5)
    assert losses.js(sure_BK, sure_BK, 1.0).item() == pytest.approx(0.0, abs=1e-7)


def test_js_is_the_mean_of_both_divergences_from_the_middle() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    m = (p + q) / 2
    expected = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    divergence = losses.js(p.log()[None], q.log()[None], 1.0).item()
    assert divergence == pytest.approx(expected.item(), rel=1e-5)
    assert losses.js(q.log()[None], p.log()[None], 1.0).item() == pytest.approx(divergence)


def test_the_temperature_of_js_softens_and_its_square_scales() -> None:
    a_BK, b_BK = torch.randn(4, 5), torch.randn(4, 5)
    assert losses.js(a_BK, b_BK, 3.0).item() == pytest.approx(
        9 * losses.js(a_BK / 3, b_BK / 3, 1.0).item(), rel=1e-5
    )


def test_only_embeddings_longer_than_delta_cost() -> None:
    embedding_KZ = torch.tensor([[3.0, 4.0], [0.3, 0.4]], requires_grad=True)
    cost = losses.excess_norm(embedding_KZ, 2.0)
    cost.backward()  # type: ignore[no-untyped-call]
    assert cost.item() == pytest.approx(1.5)
    assert embedding_KZ.grad is not None
    torch.testing.assert_close(embedding_KZ.grad, torch.tensor([[0.3, 0.4], [0.0, 0.0]]))


def test_the_students_loss_weighs_the_distance_on_every_part_of_the_batch() -> None:
    student_BK = torch.cat([STUDENT_BK, TEACHER_BK])
    teacher_BK = torch.cat([TEACHER_BK, STUDENT_BK + 1.0])
    first = losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
    second = losses.l1(TEACHER_BK, STUDENT_BK + 1.0, 1.0)
    terms = loss_terms(Distill(method="mad"))
    loss = losses.student_loss(terms, student_BK, teacher_BK, (0.25, 2.0))
    assert loss.item() == pytest.approx((0.25 * first + 2.0 * second).item())
    whole = losses.student_loss(terms, student_BK, teacher_BK, (3.0,))
    assert whole.item() == pytest.approx(3.0 * losses.l1(student_BK, teacher_BK, 1.0).item())


def _generator_loss(options: Distill, *, adversarial: bool = True) -> float:
    conditional = options.generator != "uncond"
    return losses.generator_loss(
        loss_terms(options),
        Group(),
        teacher_BK=TEACHER_BK,
        student_BK=STUDENT_BK if adversarial else None,
        bn_stats_terms=[torch.tensor(0.5), torch.tensor(0.25)],
        y_B=Y_B if conditional else None,
        embedding_KZ=torch.full((3, 4), 5.0) if conditional else None,
    ).item()


def test_the_generators_loss_is_the_weighted_sum_of_the_unconditional_terms() -> None:
    options = Distill(
        adversarial_weight=0.5, batch_norm_weight=2.0, one_hot_weight=3.0, balance_weight=4.0
    )
    expected = (
        -0.5 * losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
        + 2.0 * 0.75
        + 3.0 * losses.one_hot(TEACHER_BK)
        + 4.0 * losses.class_balance(TEACHER_BK.softmax(1).mean(0))
    )
    assert _generator_loss(options) == pytest.approx(expected.item(), rel=1e-6)


def test_a_conditional_generators_loss_has_the_terms_of_its_labels() -> None:
    options = Distill(
        generator="sum", delta=3.0, label_weight=2.0, norm_weight=0.1, batch_norm_weight=0.0
    )
    expected = (
        -losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
        + 2.0 * functional.cross_entropy(TEACHER_BK, Y_B)
        + 0.1 * (10.0 - 3.0)
    )
    assert _generator_loss(options) == pytest.approx(expected.item(), rel=1e-5)


def test_the_generators_loss_of_dfad_is_the_negative_distance_alone() -> None:
    expected = -losses.l1(STUDENT_BK, TEACHER_BK, 1.0)
    assert _generator_loss(Distill(method="dfad")) == pytest.approx(expected.item(), rel=1e-6)


def test_the_generator_may_seek_another_disagreement_than_the_student_learns_to_avoid() -> None:
    options = Distill(
        method="dfad",
        loss="kl",
        temperature=20.0,
        adversarial_loss="js",
        adversarial_temperature=2.0,
    )
    expected = -losses.js(STUDENT_BK, TEACHER_BK, 2.0)
    assert _generator_loss(options) == pytest.approx(expected.item(), rel=1e-6)
    loss = losses.student_loss(loss_terms(options), STUDENT_BK, TEACHER_BK, (1.0,))
    assert loss.item() == pytest.approx(losses.kl(STUDENT_BK, TEACHER_BK, 20.0).item(), rel=1e-6)


def test_pretraining_has_no_adversarial_term() -> None:
    options = Distill(batch_norm_weight=1.0, one_hot_weight=0.0, balance_weight=0.0)
    assert _generator_loss(options, adversarial=False) == pytest.approx(0.75)
