"""Images that are made smaller than the teacher takes: what networks see of them, and when."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from pipeline.errors import StageError
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.distill.trainer import DistillTrainer
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.unlabelled_folder import unlabelled_folder

METHODS = ("madpipe", "mad", "dfkd-mem")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a teacher of images of 8 pixels."""
    return teacher(tmp_path_factory.mktemp("teacher"))


def _trainer(path: Path, chosen: Job | None = None, **options: Any) -> DistillTrainer:
    plain = {"enlarge": 2, "small_rounds": 0.5, "compile": "off"}
    return build_trainer(chosen or job(**plain | options), path, Group())[0]


def _sides(network: nn.Module) -> list[int]:
    """Return a list that gets the height of each batch of images that a network sees."""
    sides: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[2]))
    return sides


def _rounds(trainer: DistillTrainer) -> Iterator[None]:
    while trainer.round < trainer.last_round:
        trainer.train_round()
        yield


@pytest.mark.parametrize("method", METHODS)
def test_networks_see_small_images_first_and_enlarged_ones_then(path: Path, method: str) -> None:
    trainer = _trainer(path, method=method)
    networks = trainer.teacher, trainer.frozen_teacher, trainer.student
    seen = [_sides(network) for network in networks]
    for number, _ in enumerate(_rounds(trainer)):
        assert [set(sides) for sides in seen] == [{4 if number < 2 else 8}] * 3
        for sides in seen:
            sides.clear()


def test_without_small_rounds_all_are_enlarged(path: Path) -> None:
    trainer = _trainer(path, small_rounds=0.0)
    sides = _sides(trainer.student)
    trainer.run()
    assert set(sides) == {8}
    assert trainer.generator.native_px == (4, 4)


def test_without_enlarging_small_rounds_change_nothing(path: Path) -> None:
    trainer, plain = (_trainer(path, enlarge=1, small_rounds=share) for share in (0.5, 0.0))
    trainer.run()
    plain.run()
    states = trained_state(trainer), trained_state(plain)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_what_the_teacher_said_of_small_images_is_forgotten(path: Path) -> None:
    trainer = _trainer(path, rounds=4, batch_size=8)
    counts = [int(trainer.memory.seen) for _ in _rounds(trainer)]
    assert counts == [16, 32, 16, 32]


def test_the_memory_holds_small_images_and_the_teachers_logits_of_enlarged_ones(
    path: Path,
) -> None:
    trainer = _trainer(path, small_rounds=0.0, batch_size=8, augment="none")
    trainer.train_round()
    (batch,) = trainer.replay()
    assert trainer.memory.x_NCHW.shape[2:] == (4, 4)
    assert batch.x_BCHW.shape[2:] == (8, 8)
    # Up to the rounding to bytes.
    torch.testing.assert_close(trainer.teacher(batch.x_BCHW), batch.teacher_BK, atol=0.1, rtol=0.05)


def test_a_smoke_run_mixes_both_kinds_of_round(path: Path) -> None:
    chosen = job(enlarge=2, small_rounds=0.75, rounds=400)
    trainer = _trainer(path, msgspec.structs.replace(chosen, rounds=4))
    sides = _sides(trainer.student)
    rounds = []
    for _ in _rounds(trainer):
        rounds.append(set(sides))
        sides.clear()
    assert rounds == [{8}, {4}, {4}, {4}]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_it_goes_on_where_it_stopped_before_and_after_images_grow(path: Path, stop: int) -> None:
    whole, first, second = (_trainer(path) for _ in range(3))
    whole.run()
    first.last_round = stop
    first.run()
    second.restore(first.state())
    second.run()
    states = trained_state(whole), trained_state(second)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_unlabelled_images_are_seen_as_small_as_the_others(path: Path, tmp_path: Path) -> None:
    unlabelled_folder(tmp_path / "images", 60)
    chosen = msgspec.structs.replace(
        job(enlarge=2, small_rounds=0.5, images="images"), images=tmp_path / "images"
    )
    trainer = _trainer(path, chosen)
    sides = _sides(trainer.student)
    trainer.run()
    assert set(sides) == {4, 8}


def test_sizes_are_tried_without_compiling_them(path: Path) -> None:
    trainer = _trainer(path)

    def fail(_x_BCHW: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no C compiler")

    trainer.student._compiled_call_impl = fail
    trainer.scale.check(trainer.student, "student")


def test_a_network_of_one_size_alone_is_told_what_to_set(path: Path) -> None:
    trainer = _trainer(path)

    class OneSize(nn.Module):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return x_BCHW.view(-1, 64)

    trainer.student.backbone = OneSize()
    with pytest.raises(StageError) as caught:
        trainer.scale.check(trainer.student, "student")
    assert str(caught.value) == (
        "distill.small_rounds: the student takes no images of 4, only of 8; set "
        "distill.small_rounds = 0: its images are enlarged in all rounds then"
    )
    assert trainer.student.training
