"""One round of the game: who moves, by which formula, and what stays as it was."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from models.resnet import CifarResNet
from pipeline.settings import Distill
from stages.distill import ema as averaging
from stages.distill import losses
from stages.distill.bn_stats import BNStatsLoss
from stages.distill.trainer import DistillTrainer
from stages.training import checkpoint_io
from stages.training.device import Compute
from stages.training.schedule import one_cycle

CPU = torch.device("cpu")


def _classifier() -> Classifier:
    backbone = CifarResNet(depth=8, width=4, in_channels=1, num_classes=5)
    return Classifier(backbone, (0.3,), (0.4,))


def _game(**options: Any) -> DistillTrainer:
    chosen = Distill(
        **{"rounds": 4, "batch_size": 6, "generator_width": 4, "noise_dim": 5, **options}
    )
    torch.manual_seed(11)
    teacher, student = _classifier(), _classifier()
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3)
    generator = Generator(noise_dim=5, image_size_px=8, channels=1, width=4)
    rng = torch.Generator().manual_seed(7)
    return DistillTrainer(
        teacher=teacher,
        student=student,
        generator=generator,
        options=chosen,
        compute=Compute(CPU, "fp32"),
        rng=rng,
    )


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.state_dict().items()}


def _same(before: dict[str, Tensor], module: nn.Module) -> bool:
    return all(torch.equal(before[name], each) for name, each in module.state_dict().items())


def _parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def test_the_generator_step_leaves_the_student_as_it_was() -> None:
    game = _game()
    game.train_round()
    weights_and_statistics = _copy(game.student)
    gradients = {
        name: p.grad.clone() for name, p in game.student.named_parameters() if p.grad is not None
    }
    game._generator_step()
    assert _same(weights_and_statistics, game.student)
    after = {name: p.grad for name, p in game.student.named_parameters() if p.grad is not None}
    assert gradients.keys() == after.keys()
    assert all(torch.equal(gradients[name], each) for name, each in after.items())
    assert game.student.training
    assert all(each.requires_grad for each in game.student.parameters())


def test_the_generator_step_moves_the_generator() -> None:
    game = _game()
    before = _parameters(game.generator)
    game._generator_step()
    assert any(not torch.equal(before[n], p) for n, p in game.generator.named_parameters())


def test_the_generator_loss_equals_its_terms_computed_apart() -> None:
    game = _game(
        loss="kl", temperature=3.0, adversarial_weight=0.7, batch_norm_weight=0.2,
        one_hot_weight=0.3, balance_weight=0.4,
    )  # fmt: skip
    rng = torch.Generator()
    rng.set_state(game.rng.get_state())
    generator, teacher = copy.deepcopy(game.generator), copy.deepcopy(game.teacher)
    student = copy.deepcopy(game.student).eval()
    found = game._generator_step()
    with torch.no_grad():
        x_BCHW = generator(torch.randn(6, 5, generator=rng))
        with BNStatsLoss(teacher).watched() as moments:
            teacher_BK = teacher(x_BCHW)
        student_BK = student(x_BCHW)
        wanted = (
            -0.7 * losses.kl(student_BK, teacher_BK, 3.0)
            + 0.2 * sum(moments)
            + 0.3 * losses.one_hot(teacher_BK)
            + 0.4 * losses.imbalance(teacher_BK.softmax(1).mean(0))
        )
    assert found.item() == pytest.approx(float(wanted), rel=1e-4)


def test_the_student_loss_weighs_samples_of_both_generators() -> None:
    game = _game(lambda0=0.3, lambda1=0.9, alpha=0.5, augment="none")
    game.train_round()
    rng = torch.Generator()
    rng.set_state(game.rng.get_state())
    generator, slow = copy.deepcopy(game.generator), copy.deepcopy(game.ema)
    student = copy.deepcopy(game.student)
    found = game._student_step(0, [game._drawn()])
    with torch.no_grad():
        new_BCHW = generator(torch.randn(6, 5, generator=rng))
        old_BCHW = slow(torch.randn(6, 5, generator=rng))
        x_BCHW = torch.cat([new_BCHW, old_BCHW])
        student_BK, teacher_BK = student(x_BCHW), game.teacher(x_BCHW)
        wanted = 0.3 * losses.l1(student_BK[:6], teacher_BK[:6], 1.0)
        wanted = wanted + 0.9 * losses.l1(student_BK[6:], teacher_BK[6:], 1.0)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_student_step_leaves_teacher_and_the_weights_of_both_generators() -> None:
    game = _game()
    teacher = _copy(game.teacher)
    generator, ema = _parameters(game.generator), _parameters(game.ema)
    student = _parameters(game.student)
    game._student_step(0, [game._drawn()])
    assert _same(teacher, game.teacher)
    assert all(torch.equal(generator[n], p) for n, p in game.generator.named_parameters())
    assert all(torch.equal(ema[n], p) for n, p in game.ema.named_parameters())
    assert any(not torch.equal(student[n], p) for n, p in game.student.named_parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.95])
def test_the_ema_moves_by_its_formula(alpha: float) -> None:
    game = _game(alpha=alpha)
    before = _parameters(game.ema)
    game._generator_step()
    averaging.follow(game.ema, game.generator, game.options.alpha, "batch")
    after = dict(game.ema.named_parameters())
    for name, theta in game.generator.named_parameters():
        wanted = alpha * before[name] + (1 - alpha) * theta.detach()
        torch.testing.assert_close(after[name].detach(), wanted, rtol=1e-6, atol=1e-7)


def test_the_ema_begins_as_a_copy_that_shares_no_memory_with_the_generator() -> None:
    game = _game()
    assert _same(_copy(game.generator), game.ema)
    mine = {each.data_ptr() for each in game.ema.parameters()}
    assert mine.isdisjoint(each.data_ptr() for each in game.generator.parameters())
    assert not any(each.requires_grad for each in game.ema.parameters())


def test_the_ema_has_the_batch_norm_statistics_of_the_generator() -> None:
    game = _game()
    game._generator_step()
    averaging.follow(game.ema, game.generator, game.options.alpha, "batch")
    theirs = dict(game.generator.named_buffers())
    assert all(torch.equal(theirs[name], each) for name, each in game.ema.named_buffers())


def test_abm_equals_mad_without_the_ema_term() -> None:
    abm, mad = _game(method="abm"), _game(method="mad", lambda1=0.0)
    for _ in range(3):
        abm.train_round()
        mad.train_round()
    assert _same(_copy(abm.student), mad.student)
    assert _same(_copy(abm.generator), mad.generator)


def test_mad_with_the_ema_term_differs_from_abm() -> None:
    abm, mad = _game(method="abm"), _game(method="mad")
    abm.train_round()
    mad.train_round()
    assert not _same(_copy(abm.student), mad.student)


def test_the_teacher_is_frozen_for_good() -> None:
    game = _game()
    before = _copy(game.teacher)
    for _ in range(2):
        game.train_round()
    assert _same(before, game.teacher)
    assert not game.teacher.training
    assert all(p.grad is None and not p.requires_grad for p in game.teacher.parameters())


def test_a_game_restored_from_a_file_plays_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    whole, first, second = _game(), _game(), _game()
    for _ in range(4):
        whole.train_round()
    for _ in range(2):
        first.train_round()
    checkpoint_io.save(tmp_path / "state", first.state())
    second.restore(checkpoint_io.load(tmp_path / "state"))
    assert second.round == 2
    for _ in range(2):
        second.train_round()
    assert _same(_copy(whole.student), second.student)
    assert _same(_copy(whole.generator), second.generator)
    assert _same(_copy(whole.ema), second.ema)


def test_every_student_step_has_the_rate_of_the_one_cycle_schedule() -> None:
    game = _game(rounds=5, student_steps=3, student_learning_rate=0.2)
    game.train_round()
    rate = game.student_optimiser.param_groups[0]["lr"]
    assert rate == one_cycle(2, 15, 0.2, 0.1)


def test_a_teacher_without_batch_norm_plays_without_the_moment_term() -> None:
    game = _game(batch_norm_weight=1e6)
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    game.teacher = Classifier(bare, (0.3,), (0.4,)).eval().requires_grad_(requires_grad=False)
    game.moments = BNStatsLoss(game.teacher)
    assert game.moments.layers == []
    assert abs(game._generator_step().item()) < 1e3
