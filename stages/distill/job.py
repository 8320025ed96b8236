"""Building a trainer from a job: the same in every process that takes part in it."""

import importlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from models import multi_scale
from models.classifier import Classifier
from models.generator import Generator
from pipeline.gates.real_images import RealImages
from pipeline.settings import Distill
from stages.distill import methods
from stages.distill import unlabelled as images
from stages.distill.distributed.group import Group
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import factory, probe
from stages.networks.card import Card
from stages.networks.predict import OnImages, no_progress
from stages.networks.weight_selection import select_weights
from stages.training import device as devices


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know, besides the teacher's weights, to take part in a training."""

    options: Distill
    seed: int
    student_arch: str
    teacher_code: Path | None
    student_code: Path | None
    student_weights: Path | None = None
    """Where the student starts; None: as the options say."""
    images: Path | None = None
    """The folder of unlabelled images, where the options name one; None: there are none."""
    rounds: int | None = None
    """Rounds to play of those in the options, None for all; so with the steps of pretraining."""
    pretrain_steps: int | None = None


def build_trainer(
    job: Job,
    teacher_weights: Path,
    group: Group,
    on_note: Callable[[str], None] = lambda _: None,
    on_progress: OnImages = no_progress,
) -> tuple[DistillTrainer, Card]:
    """Return a trainer at its start and the student's card; `on_note` gets what is to be known.

    `on_progress` is called with how many unlabelled images are read, where there are any.

    Raises:
        StageError: A network cannot be built, takes other images or classes, or gives no logits.
    """
    options = job.options
    teacher, card = factory.load(teacher_weights, code=job.teacher_code, place="teacher.arch")
    unlabelled = None
    if job.images is not None:
        unlabelled = images.load(job.images, card, options, on_note, on_progress)
    use = unlabelled.use if unlabelled else RealImages()
    student_card = cards.of_student(card, job.student_arch, use)
    compute = devices.select(options.precision)
    rng = devices.seeded(job.seed, "distill", compute.device)
    student, from_teacher = _student(job, student_card, teacher, on_note)
    if job.student_code is not None and group.rank == 0:
        probe.check(student, student_card, "student.arch", learns=True)
    if group.rank == 0:
        # By name: a trial decides nothing of the student, so its code is no part of the key.
        preflight = importlib.import_module("stages.preflight")
        preflight.try_export(student, student_card, code=job.student_code, place="student.arch")
    generator = build_generator(options, card)
    trainer = DistillTrainer(
        teacher=teacher,
        student=student,
        generator=generator,
        options=options,
        compute=compute,
        rng=rng,
        group=group,
    )
    trainer.scale.check(teacher, "teacher")
    trainer.scale.check(student, "student")
    trainer.params_from_teacher = from_teacher
    if unlabelled is not None:
        trainer.unlabelled = images.UnlabelledSource(
            unlabelled,
            options,
            sampler=trainer.sampler,
            teacher=trainer.frozen_teacher,
            compute=compute,
            scale=trainer.scale,
        )
    if job.rounds is not None:
        trainer.last_round = job.rounds
        trainer.scale.is_spread = job.rounds < options.rounds
    if job.pretrain_steps is not None:
        trainer.last_pretrain_step = job.pretrain_steps
    return trainer, student_card


def build_generator(options: Distill, card: Card) -> Generator:
    """Return the generator, at random, of images that a teacher takes."""
    return multi_scale.build_generator(
        scales=options.generator_scales,
        noise_dim=options.noise_dim,
        image_size_px=card.size_px,
        channels=card.channels,
        width=options.generator_width,
        kind=options.generator,
        enlarge=options.enlarge,
        num_classes=card.num_classes if options.generator != "uncond" else 0,
    )


def _student(
    job: Job, card: Card, teacher: Classifier, on_note: Callable[[str], None]
) -> tuple[Classifier, int]:
    """Return the student at its start, and how many of its parameters are the teacher's."""
    student = factory.build(card, code=job.student_code, place="student.arch", on_note=on_note)
    if job.student_weights is not None:
        factory.start_from(
            student,
            card,
            job.student_weights,
            code=job.student_code,
            place="student.weights",
            on_note=on_note,
        )
        return student, 0
    if not methods.starts_from_teacher(job.options):
        return student, 0
    from_teacher = select_weights(student.backbone, teacher.backbone)
    if not from_teacher and job.options.student_start is not None:
        on_note(
            "distill.student_start: no layer of the student has the name and the kernel of one of "
            "the teacher's, so it starts at random"
        )
    return student, from_teacher
