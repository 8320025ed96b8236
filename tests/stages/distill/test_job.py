"""The same job gives the same trainer wherever it is read."""

import pickle
from pathlib import Path

import torch

from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from tests.stages.distill.tiny_training import job, teacher
from tests.stages.tiny import card


def test_two_processes_that_read_one_job_begin_alike(tmp_path: Path) -> None:
    path = teacher(tmp_path)
    sent = pickle.dumps(job(generator="cat"))
    trainers = [build_trainer(pickle.loads(sent), path, Group())[0] for _ in range(2)]  # noqa: S301
    one, other = (trainer.state() for trainer in trainers)
    for part in ("student", "generator", "ema"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])
    assert torch.equal(one["rng"], other["rng"])


def test_the_students_card_is_the_teachers_with_another_architecture(tmp_path: Path) -> None:
    described = build_trainer(job(), teacher(tmp_path), Group())[1]
    assert described == card(arch="resnet8")


def test_a_conditional_generator_has_a_label_for_each_class(tmp_path: Path) -> None:
    trainer, _ = build_trainer(job(generator="sum"), teacher(tmp_path), Group())
    assert trainer.generator.num_classes == 10
    assert trainer.generator.kind == "sum"
