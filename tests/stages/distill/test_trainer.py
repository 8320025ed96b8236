"""One training round: what moves, by which formula, and what stays as it was."""

import copy
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from models.generator import Generator
from models.resnet import CifarResNet
from pipeline.errors import StageError
from pipeline.settings import Distill
from stages.distill import losses
from stages.distill.batch_norm import BNStatsLoss
from stages.distill.trainer import DistillTrainer
from stages.training import state_file
from stages.training.device import Compute
from stages.training.schedule import one_cycle
from tests.stages import failing_compiler
from tests.stages.distill.tiny_training import copied_state, trained_state

CPU = torch.device("cpu")


def _classifier() -> Classifier:
    backbone = CifarResNet(depth=8, width=8, in_channels=1, num_classes=5)
    return Classifier(backbone, (0.3,), (0.4,))


def _trainer(
    teacher: Classifier | None = None, student: Classifier | None = None, **options: Any
) -> DistillTrainer:
    plain = {"rounds": 4, "batch_size": 6, "generator_width": 8, "noise_dim": 5}
    torch.manual_seed(11)
    plain_teacher, plain_student = _classifier(), _classifier()
    for module in plain_teacher.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3)
    return DistillTrainer(
        teacher=teacher or plain_teacher,
        student=student or plain_student,
        generator=Generator(noise_dim=5, image_size_px=8, channels=1, width=8),
        options=Distill(**plain | options),
        compute=Compute(CPU, "fp32"),
        rng=torch.Generator().manual_seed(7),
    )


def test_the_teacher_is_compiled_with_the_moments_and_folded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(Compute, "compile", lambda *arguments: compiled.extend(arguments[1:]))
    trainer = _trainer(compile="on")
    own = [trainer.student, trainer.generator, trainer.ema]
    assert compiled == ["on", *own, trainer.frozen_teacher, trainer.bn_stats]


def _same(before: dict[str, Tensor], network: nn.Module) -> bool:
    return all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def _parameters(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    parameters = network.named_parameters()
    return {name: value.grad.clone() for name, value in parameters if value.grad is not None}


def test_the_generator_step_leaves_the_student_as_it_was() -> None:
    trainer = _trainer()
    trainer.train_round()
    state, gradients = copied_state(trainer.student), _gradients(trainer.student)
    trainer.generator_step()
    assert _same(state, trainer.student)
    after = _gradients(trainer.student)
    assert gradients.keys() == after.keys()
    assert all(torch.equal(gradients[name], value) for name, value in after.items())
    assert trainer.student.training
    assert all(parameter.requires_grad for parameter in trainer.student.parameters())


def test_the_generator_step_moves_the_generator() -> None:
    trainer = _trainer()
    before = _parameters(trainer.generator)
    trainer.generator_step()
    after = _parameters(trainer.generator)
    assert any(not torch.equal(before[name], value) for name, value in after.items())


def test_the_generator_loss_equals_its_terms_computed_apart() -> None:
    trainer = _trainer(
        method="mad", loss="kl", temperature=3.0, adversarial_weight=0.7,
        batch_norm_weight=0.2, one_hot_weight=0.3, balance_weight=0.4,
    )  # fmt: skip
    rng = torch.Generator()
    rng.set_state(trainer.rng.get_state())
    generator, teacher = copy.deepcopy(trainer.generator), copy.deepcopy(trainer.teacher)
    student = copy.deepcopy(trainer.student).eval()
    loss = trainer.generator_step()
    with torch.no_grad():
        x_BCHW = generator(torch.randn(6, 5, generator=rng))
        teacher_BK, bn_stats_terms = BNStatsLoss(teacher)(x_BCHW)
        student_BK = student(x_BCHW)
        expected = (
            -0.7 * losses.kl(student_BK, teacher_BK, 3.0)
            + 0.2 * sum(bn_stats_terms)
            + 0.3 * losses.one_hot(teacher_BK)
            + 0.4 * losses.class_balance(teacher_BK.softmax(1).mean(0))
        )
    assert loss.item() == pytest.approx(float(expected), rel=1e-4)


def test_the_student_loss_weighs_samples_of_both_generators() -> None:
    trainer = _trainer(method="mad", lambda0=0.3, lambda1=0.9, alpha=0.5, augment="none")
    trainer.train_round()
    rng = torch.Generator()
    rng.set_state(trainer.rng.get_state())
    generator, ema = copy.deepcopy(trainer.generator), copy.deepcopy(trainer.ema)
    student = copy.deepcopy(trainer.student)
    loss = trainer.student_step(0, [trainer.sample_batch()])
    with torch.no_grad():
        new_BCHW = generator(torch.randn(6, 5, generator=rng))
        old_BCHW = ema(torch.randn(6, 5, generator=rng))
        x_BCHW = torch.cat([new_BCHW, old_BCHW])
        student_BK, teacher_BK = student(x_BCHW), trainer.teacher(x_BCHW)
        expected = 0.3 * losses.l1(student_BK[:6], teacher_BK[:6], 1.0)
        expected = expected + 0.9 * losses.l1(student_BK[6:], teacher_BK[6:], 1.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_student_step_leaves_teacher_and_the_weights_of_both_generators() -> None:
    trainer = _trainer()
    teacher = copied_state(trainer.teacher)
    generator, ema = _parameters(trainer.generator), _parameters(trainer.ema)
    student = _parameters(trainer.student)
    trainer.student_step(0, [trainer.sample_batch()])
    assert _same(teacher, trainer.teacher)
    for before, network in ((generator, trainer.generator), (ema, trainer.ema)):
        after = _parameters(network)
        assert all(torch.equal(before[name], value) for name, value in after.items())
    after = _parameters(trainer.student)
    assert any(not torch.equal(student[name], value) for name, value in after.items())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.95])
def test_after_a_round_the_ema_has_moved_by_its_formula(alpha: float) -> None:
    trainer = _trainer(alpha=alpha)
    before = _parameters(trainer.ema)
    trainer.train_round()
    after = _parameters(trainer.ema)
    for name, theta in _parameters(trainer.generator).items():
        expected = alpha * before[name] + (1 - alpha) * theta
        torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-7)


def test_the_ema_moves_with_every_generator_step_of_a_round() -> None:
    trainer, stepped = _trainer(generator_steps=2), _trainer(generator_steps=2)
    trainer.train_round()
    expected = _parameters(stepped.ema)
    for _ in range(2):
        stepped.generator_step()
        for name, theta in _parameters(stepped.generator).items():
            expected[name] = 0.95 * expected[name] + 0.05 * theta
    for name, value in _parameters(trainer.ema).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_statistics_are_copied_to_an_ema_that_normalises_by_its_batch() -> None:
    trainer = _trainer(student_steps=1)
    sampled: list[dict[str, Tensor]] = []
    sample_batch = trainer.sample_batch

    def remember_and_sample() -> Any:
        sampled.append(dict(copied_state(trainer.ema)))
        sampled.append(dict(copied_state(trainer.generator)))
        return sample_batch()

    trainer.sample_batch = remember_and_sample  # type: ignore[method-assign]
    trainer.train_round()
    ema, generator = sampled
    buffers = [name for name, _ in trainer.generator.named_buffers()]
    assert buffers
    assert all(torch.equal(ema[name], generator[name]) for name in buffers)


def test_statistics_move_by_the_formula_for_an_ema_that_normalises_by_them() -> None:
    trainer = _trainer(ema_batch_norm="averaged", alpha=0.75, lambda0=0.0)
    before = copied_state(trainer.ema)
    trainer.train_round()
    after, generator = copied_state(trainer.ema), copied_state(trainer.generator)
    # With lambda0 = 0 the student's steps run the EMA alone, in evaluation mode.
    expected = 0.75 * before["norm.running_mean"] + 0.25 * generator["norm.running_mean"]
    torch.testing.assert_close(after["norm.running_mean"], expected)
    assert not torch.equal(before["norm.running_mean"], after["norm.running_mean"])
    counter = "norm.num_batches_tracked"
    assert torch.equal(after[counter], generator[counter])


def test_the_ema_begins_as_a_copy_that_shares_no_memory_with_the_generator() -> None:
    trainer = _trainer()
    assert _same(copied_state(trainer.generator), trainer.ema)
    addresses = {parameter.data_ptr() for parameter in trainer.ema.parameters()}
    assert addresses.isdisjoint(
        parameter.data_ptr() for parameter in trainer.generator.parameters()
    )
    assert not any(parameter.requires_grad for parameter in trainer.ema.parameters())


def test_abm_equals_mad_without_the_ema_term() -> None:
    abm, mad = _trainer(method="abm"), _trainer(method="mad", lambda1=0.0)
    for _ in range(3):
        abm.train_round()
        mad.train_round()
    assert _same(copied_state(abm.student), mad.student)
    assert _same(copied_state(abm.generator), mad.generator)


def test_mad_with_the_ema_term_differs_from_abm() -> None:
    abm, mad = _trainer(method="abm"), _trainer(method="mad")
    abm.train_round()
    mad.train_round()
    assert not _same(copied_state(abm.student), mad.student)


def test_the_teacher_is_frozen_for_good() -> None:
    trainer = _trainer()
    before = copied_state(trainer.teacher)
    for _ in range(2):
        trainer.train_round()
    assert _same(before, trainer.teacher)
    assert not trainer.teacher.training
    assert all(p.grad is None and not p.requires_grad for p in trainer.teacher.parameters())


def test_a_trainer_restored_from_a_file_goes_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    whole, first, second = _trainer(), _trainer(), _trainer()
    for _ in range(4):
        whole.train_round()
    for _ in range(2):
        first.train_round()
    state_file.save(tmp_path / "state", first.state())
    second.restore(state_file.load(tmp_path / "state"))
    assert second.round == 2
    for _ in range(2):
        second.train_round()
    expected = trained_state(whole)
    assert all(torch.equal(expected[name], x) for name, x in trained_state(second).items())


def test_run_takes_all_steps_that_are_left_and_closes_each_window() -> None:
    trainer = _trainer(rounds=3, pretrain_steps=2)
    trainer.pretrain_step()
    steps: list[tuple[int, int, int]] = []

    def record() -> None:
        steps.append((trainer.pretrained, trainer.round, len(trainer.windows)))

    top1 = iter([0.25, 0.5, 0.75])
    trainer.run(on_pretrain_step=record, on_round=record, monitor=lambda: next(top1))
    assert steps == [(2, 0, 0), (2, 1, 1), (2, 2, 2), (2, 3, 3)]
    assert [window.student_top1 for window in trainer.windows] == [0.25, 0.5, 0.75]
    trainer.run(on_round=record)
    assert len(steps) == 4


def test_run_does_what_its_steps_do_one_by_one() -> None:
    whole, stepped = _trainer(pretrain_steps=1), _trainer(pretrain_steps=1)
    whole.run()
    stepped.pretrain_step()
    for _ in range(4):
        stepped.train_round()
    expected = trained_state(stepped)
    assert all(torch.equal(expected[name], x) for name, x in trained_state(whole).items())


def test_every_student_step_has_the_rate_of_the_one_cycle_schedule() -> None:
    trainer = _trainer(rounds=5, student_steps=3, student_learning_rate=0.2)
    trainer.train_round()
    rate = trainer.student_optimiser.param_groups[0]["lr"]
    assert rate == one_cycle(2, 15, 0.2, 0.1)


def test_the_student_learns_by_sgd_and_the_generator_by_adam() -> None:
    trainer = _trainer(
        student_learning_rate=0.3, student_weight_decay=0.01, generator_learning_rate=0.02
    )
    assert isinstance(trainer.student_optimiser, torch.optim.SGD)
    assert isinstance(trainer.generator_optimiser, torch.optim.Adam)
    student = trainer.student_optimiser.param_groups[0]
    generator = trainer.generator_optimiser.param_groups[0]
    assert (student["lr"], student["weight_decay"], student["nesterov"]) == (0.3, 0.01, True)
    assert (generator["lr"], generator["betas"]) == (0.02, (0.5, 0.999))


def test_a_teacher_without_batch_norm_trains_without_the_moment_term() -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    trainer = _trainer(Classifier(bare, (0.3,), (0.4,)), batch_norm_weight=1e6)
    assert trainer.bn_stats.layers == []
    assert abs(trainer.generator_step().item()) < 1e3


def test_where_torch_compile_fails_auto_goes_on_without_it_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = _trainer(compile="off")
    expected.run()
    failing_compiler.install(monkeypatch)
    trainer, notes = _trainer(compile="auto"), list[str]()
    trainer.run(on_note=notes.append)
    reason = "NotImplementedError: no such operator"
    assert notes == [f"networks run eager, since torch.compile fails ({reason})"]
    assert trainer.round == trainer.options.rounds
    with pytest.raises(StageError, match=f"distill.compile: torch.compile fails .{reason}"):
        _trainer(compile="on").run()
    shared = _trainer(compile="auto")
    monkeypatch.setattr(type(shared.group), "is_distributed", True)
    with pytest.raises(StageError, match=f"distill.compile: torch.compile fails .{reason}"):
        shared.run()


def test_other_errors_of_a_round_are_not_taken_for_the_compilers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = _trainer()
    error = RuntimeError("CUDA error: out of memory")
    monkeypatch.setattr(trainer, "train_round", mock.Mock(side_effect=error))
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.run()


def test_layers_of_the_student_that_are_frozen_stay_so() -> None:
    torch.manual_seed(1)
    student = _classifier()
    first = [name for name, _ in student.named_parameters() if "conv1" in name]
    for name in first:
        student.get_parameter(name).requires_grad = False
    trainer = _trainer(student=student)
    before = copied_state(trainer.student)
    trainer.train_round()
    moved = {name for name, x in _parameters(trainer.student).items() if not x.equal(before[name])}
    assert first
    assert moved == set(_parameters(trainer.student)) - set(first)
