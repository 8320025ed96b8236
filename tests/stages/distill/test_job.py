"""The same job gives the same trainer wherever it is read."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import torch

from pipeline.gates.real_images import RealImages
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
    assert torch.equal(one["rng"]["state"], other["rng"]["state"])


def test_the_students_card_is_the_teachers_with_another_architecture(tmp_path: Path) -> None:
    described = build_trainer(job(), teacher(tmp_path), Group())[1]
    assert described == card(arch="resnet8", real_images=RealImages())


def test_a_conditional_generator_has_a_label_for_each_class(tmp_path: Path) -> None:
    trainer, _ = build_trainer(job(generator="sum"), teacher(tmp_path), Group())
    assert trainer.generator.num_classes == 10
    assert trainer.generator.kind == "sum"


def test_a_student_starts_from_its_teacher_where_the_method_or_a_setting_says(
    tmp_path: Path,
) -> None:
    path = teacher(tmp_path)

    def of_teacher(**options: Any) -> int:
        return build_trainer(job(**options), path, Group())[0].params_from_teacher

    assert of_teacher(method="madpipe") > 0
    assert of_teacher(method="mad") == 0
    assert of_teacher(method="mad", student_start="teacher") == of_teacher(method="madpipe")
    assert of_teacher(method="madpipe", student_start="random") == 0


def test_a_start_that_was_asked_for_and_has_nothing_in_common_is_noted(tmp_path: Path) -> None:
    notes: list[str] = []
    other = msgspec.structs.replace(job(student_start="teacher"), student_arch="mobilenetv2")
    build_trainer(other, teacher(tmp_path), Group(), notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("distill.student_start: no layer of the student")
    notes.clear()
    other = msgspec.structs.replace(job(method="madpipe"), student_arch="mobilenetv2")
    build_trainer(other, teacher(tmp_path), Group(), notes.append)
    assert notes == []
