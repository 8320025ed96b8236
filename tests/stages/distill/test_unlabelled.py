"""Unlabelled images in the student's loss: what their weight means, and that nothing else moves."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from stages.distill import losses
from stages.distill.distributed.group import Group
from stages.distill.distributed.launch import process_group
from stages.distill.job import Job, build_trainer
from stages.distill.trainer import DistillTrainer
from stages.networks.card import Card
from stages.training import state_file
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.unlabelled_folder import unlabelled_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, and with unlabelled images in images/."""
    folder = tmp_path_factory.mktemp("unlabelled")
    unlabelled_folder(folder / "images", 60)
    teacher(folder)
    return folder


def _job(home: Path, **options: Any) -> Job:
    chosen = job(images="images", **options)
    return msgspec.structs.replace(chosen, images=home / "images")


def _trainer(home: Path, **options: Any) -> tuple[DistillTrainer, Card]:
    return build_trainer(_job(home, **options), home / "teacher.safetensors", Group())


def _same(one: DistillTrainer, other: DistillTrainer) -> bool:
    states = trained_state(one), trained_state(other)
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("method", ["madpipe", "mad", "abm", "dfkd-mem"])
def test_a_weight_of_0_trains_what_no_images_do(home: Path, method: str) -> None:
    weightless, card = _trainer(home, method=method, lambda2=0.0)
    plain, plain_card = build_trainer(job(method=method), home / "teacher.safetensors", Group())
    for trainer in (weightless, plain):
        trainer.run()
    assert _same(weightless, plain)
    assert weightless.student_samples == plain.student_samples
    assert card.real_images is not None
    assert (card.real_images.learned, card.real_images.held_back) == (0, 60)
    assert plain_card.real_images is not None
    assert plain_card.real_images.is_data_free


@pytest.mark.parametrize(("method", "parts"), [("madpipe", 1), ("mad", 2), ("abm", 1)])
def test_the_loss_is_that_of_the_synthetic_images_and_the_weighted_one(
    home: Path, method: str, parts: int
) -> None:
    trainer, _ = _trainer(home, method=method, lambda2=0.3, batch_size=12, draw_every=1)
    assert trainer.unlabelled is not None
    trainer.train_round()
    batch = trainer.sample_batch()
    if trainer.recipe.is_replayed:
        (batch,) = trainer.replay()
    (joined,) = trainer.unlabelled.joined([batch])
    assert (len(batch.x_BCHW), len(joined.x_BCHW)) == (12 * parts, 12 * (parts + 1))
    assert torch.equal(joined.x_BCHW[: 12 * parts], batch.x_BCHW)
    with torch.no_grad():
        student_BK = trainer.student_logits(joined)
        real_BK = trainer.teacher(joined.x_BCHW[-12:])
        expected = 0.3 * losses.kl(student_BK[-12:], real_BK, trainer.terms.temperature)
        for number in range(parts):
            part = slice(12 * number, 12 * (number + 1))
            one = losses.kl(student_BK[part], batch.teacher_BK[part], trainer.terms.temperature)
            expected = expected + one
    loss = trainer.student_step(0, [joined])
    assert loss.item() == pytest.approx(float(expected), rel=1e-4)


def test_student_steps_learn_from_the_images_alone_what_their_weight_says(home: Path) -> None:
    light, _ = _trainer(home, lambda2=1e-9)
    heavy, _ = _trainer(home, lambda2=1.0)
    for trainer in (light, heavy):
        trainer.run()
    assert not _same(light, heavy)
    assert light.student_samples == heavy.student_samples == 4 * 5 * (16 + 16)


def test_figures_of_synthetic_images_hold_no_real_ones(home: Path) -> None:
    trainer, _ = _trainer(home, method="mad", batch_size=8)
    trainer.train_round()
    images = trainer.metrics.sums_6[1].item()
    assert images == trainer.options.student_steps * 2 * 8


@pytest.mark.parametrize("method", ["madpipe", "mad"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_restored_trainer_goes_on_bit_by_bit(
    home: Path, tmp_path: Path, method: str, parts: int
) -> None:
    options = {"method": method, "accumulation_steps": parts, "draw_every": 2, "augment": "shift"}
    whole, _ = _trainer(home, **options)
    for _ in range(2):
        whole.train_round()
    state_file.save(tmp_path / "state", whole.state())
    whole.run()
    resumed, _ = _trainer(home, **options)
    resumed.restore(state_file.load(tmp_path / "state"))
    resumed.run()
    assert _same(whole, resumed)


def test_two_processes_draw_the_images_of_one(home: Path) -> None:
    path = home / "teacher.safetensors"
    states = []
    for processes in (1, 2):
        chosen = _job(home, method="mad", rounds=2, processes=processes)
        with process_group(chosen, path, None) as group:
            trainer, _ = build_trainer(chosen, path, group)
            trainer.run()
            states.append(trained_state(trainer))
    start, _ = _trainer(home, method="mad", rounds=2)
    before = trained_state(start)
    for name, value in states[0].items():
        if value.is_floating_point():
            moved = (value - before[name]).abs().max().item()
            assert (value - states[1][name]).abs().max().item() <= 0.05 * moved + 1e-6, name


def test_images_left_in_files_train_what_those_in_memory_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, _ = _trainer(home, rounds=1)
    monkeypatch.setattr("stages.data.unlabelled._MEMORY_BYTES", 0)
    in_files, _ = _trainer(home, rounds=1)
    for trainer in (in_memory, in_files):
        trainer.run()
    assert _same(in_memory, in_files)
