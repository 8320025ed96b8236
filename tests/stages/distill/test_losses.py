"""The loss terms against values worked out by hand."""

import math
import typing

import pytest
import torch

from pipeline.settings.distill import LossName
from stages.distill import losses

LN3 = math.log(3)


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


def test_imbalance_is_least_for_a_batch_spread_over_all_classes() -> None:
    mean_K = torch.tensor([[50.0, 0.0], [0.0, 50.0]]).softmax(dim=1).mean(dim=0)
    assert losses.imbalance(mean_K).item() == pytest.approx(-math.log(2), rel=1e-5)


def test_imbalance_is_zero_and_finite_for_a_batch_of_one_class() -> None:
    mean_K = torch.tensor([[200.0, 0.0], [200.0, 0.0]]).softmax(dim=1).mean(dim=0)
    assert losses.imbalance(mean_K).item() == pytest.approx(0.0, abs=1e-6)


def test_js_of_opposite_certainties_is_ln_2_and_of_equals_0() -> None:
    sure_BK = torch.tensor([[80.0, 0.0], [0.0, 80.0]])
    assert losses.js(sure_BK, sure_BK.flip(1), 1.0).item() == pytest.approx(math.log(2), rel=1e-5)
    assert losses.js(sure_BK, sure_BK, 1.0).item() == pytest.approx(0.0, abs=1e-7)


def test_js_is_the_mean_of_both_divergences_from_the_middle() -> None:
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    m = (p + q) / 2
    wanted = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    found = losses.js(p.log()[None], q.log()[None], 1.0)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert losses.js(q.log()[None], p.log()[None], 1.0).item() == pytest.approx(found.item())


def test_the_temperature_of_js_softens_and_its_square_scales() -> None:
    a_BK, b_BK = torch.randn(4, 5), torch.randn(4, 5)
    assert losses.js(a_BK, b_BK, 3.0).item() == pytest.approx(
        9 * losses.js(a_BK / 3, b_BK / 3, 1.0).item(), rel=1e-5
    )


def test_the_label_term_is_the_cross_entropy_with_the_label() -> None:
    teacher_BK = torch.tensor([[0.0, LN3], [0.0, LN3]])
    found = losses.label_nll(teacher_BK, torch.tensor([0, 1]))
    assert found.item() == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2, rel=1e-6)


def test_only_embeddings_longer_than_delta_cost() -> None:
    embedding_KZ = torch.tensor([[3.0, 4.0], [0.3, 0.4]], requires_grad=True)
    cost = losses.excess_norm(embedding_KZ, 2.0)
    cost.backward()  # type: ignore[no-untyped-call]
    assert cost.item() == pytest.approx(1.5)
    assert embedding_KZ.grad is not None
    torch.testing.assert_close(embedding_KZ.grad, torch.tensor([[0.3, 0.4], [0.0, 0.0]]))
