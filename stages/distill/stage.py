"""The distill stage: a student from a teacher by data-free adversarial distillation.

It is handed the teacher's weights and nothing else: its declaration names no data, and what is
not declared cannot be reached through the context. Two exceptions have to be switched on, and are
named in the declaration then: a monitor set, which only watches, and a folder of unlabelled images,
with which the student is not data-free any more.
"""

import importlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.classifier import Classifier
from models.programs.program import Program
from pipeline.gates import real_images
from pipeline.stage import Context, StageError
from stages import image_bank
from stages.distill import bank, collapse, metrics, priors, step_memory
from stages.distill.distributed.launch import process_group
from stages.distill.job import Job, build_trainer
from stages.distill.live_pictures import LivePictures
from stages.distill.metrics import Window
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.networks.card import Card
from stages.training import device as devices
from stages.training import state_file
from stages.training.contention import Contention
from stages.unlabelled_images import UnlabelledImages

_PROGRESS_EVERY_S = 0.5
_SMOKE_ROUNDS, _MOST_SMOKE_ROUNDS = 3, 20
_SMOKE_S = 10.0
"""Once so much of a smoke run is over, the fewest rounds are enough."""


def run(ctx: Context) -> None:
    """Leave the student, both generators and the curves; of the bank its images, or none."""
    _distil(ctx)
    devices.release_memory()


def _distil(ctx: Context) -> None:
    options = ctx.settings.distill
    job = Job(
        options=options,
        seed=ctx.settings.seed,
        student_arch=ctx.settings.student.arch,
        teacher_code=ctx.external("teacher_code"),
        student_code=ctx.external("student_code"),
        student_weights=ctx.external("student_weights"),
        images=ctx.external("images"),
        rounds=ctx.play(options.rounds, "rounds", few=_MOST_SMOKE_ROUNDS),
        pretrain_steps=ctx.play(options.pretrain_steps, "pretraining steps", few=_SMOKE_ROUNDS),
    )
    teacher, checkpoint = ctx.input("teacher/weights"), ctx.checkpoints.load()
    saved = state_file.load_if_sound(checkpoint, ctx.note)
    checkpoint = None if saved is None else checkpoint
    with (
        process_group(job, teacher, checkpoint) as group,
        devices.enough_memory(
            "distill.batch_size", "lower it, or set distill.accumulation_steps = 2 or more"
        ),
    ):
        trainer, card = build_trainer(
            job,
            teacher,
            group,
            ctx.note,
            lambda done, total: ctx.progress(done, total, "images (read)"),
        )
        if saved is not None and (why := trainer.restore(saved)):
            ctx.note(why)
        if why := trainer.compute.why_eager(job.options.compile):
            ctx.note(why)
        if why := priors.why_no_moments(trainer.options, trainer.bn_stats):
            ctx.note(why)
        is_program = isinstance(trainer.teacher.backbone, Program)
        if not trainer.is_folded and trainer.bn_stats.layers and not is_program:
            ctx.note(
                "the teacher's BatchNorm cannot be folded into its layers, so steps are slower"
            )
        if trainer.scale.small_rounds:
            ctx.note(trainer.scale.note())
        if warning := step_memory.warning(trainer):
            ctx.note(warning)
        _train(ctx, trainer, card)
        with group.local_only(), trainer.compute.eager():
            _write_outputs(ctx, trainer, card)
        ctx.metric("peak_memory_bytes", trainer.compute.peak_memory_bytes())
        if trainer.unlabelled is not None:
            _write_images(ctx, trainer.unlabelled.images)
        ctx.metric("params", factory.parameter_count(trainer.student))
        ctx.metric("params_from_teacher", trainer.params_from_teacher)
        ctx.metric("student_samples", trainer.student_samples)
        ctx.metric("precision", trainer.compute.precision)
        ctx.metric("processes", group.size)
        for name, value in metrics.run_metrics(trainer.windows).items():
            ctx.metric(name, value)


def _train(ctx: Context, trainer: DistillTrainer, card: Card) -> None:
    """Train to the end, with checkpoints and progress, watching for a collapse."""
    options = ctx.settings.distill
    contention = Contention(trainer.compute.device, ctx.note, processes=trainer.group.size)
    reported_s = begin_s = time.monotonic()
    pictures = LivePictures(ctx, trainer)

    def save(path: Path) -> None:
        state_file.save(path, trainer.state())
        trainer.group.check()

    def on_pretrain_step() -> None:
        ctx.checkpoints.keep(save)
        ctx.progress(trainer.pretrained, trainer.last_pretrain_step, "pretraining steps")

    def on_round() -> None:
        nonlocal reported_s
        is_late = time.monotonic() - begin_s > _SMOKE_S and trainer.round >= _SMOKE_ROUNDS
        is_last = trainer.round == trainer.last_round
        if ctx.is_smoke and is_late and not is_last and trainer.group.size == 1:
            trainer.last_round = ctx.play(options.rounds, "rounds", few=trainer.round + 1)
        if trainer.window_is_full:
            collapse.check(trainer.windows, card.num_classes, options.rounds)
            _show(ctx, trainer.windows[-1:])
            pictures.show()
        ctx.checkpoints.keep(save)
        is_due = ctx.is_smoke or time.monotonic() - reported_s > _PROGRESS_EVERY_S
        if trainer.window_is_full or is_due:
            is_full = trainer.window_is_full
            window = trainer.windows[-1] if is_full else trainer.metrics.peek(trainer.round)
            collapse.check_finite(window)
            figures = {"student_loss": window.student_loss, "agreement": window.agreement}
            if window.student_top1 is not None:
                figures["top1"] = window.student_top1
            ctx.progress(trainer.round, trainer.last_round, "rounds", **figures)
            reported_s = time.monotonic()
            contention.look()

    monitor: Callable[[], float] | None = None
    if options.monitor != "off":
        # By name, since images are reached only where the declaration has them.
        module = importlib.import_module("stages.distill.monitor")
        monitor = module.open_monitor(
            ctx.settings.data,
            ctx.external("data"),
            card,
            trainer.student,
            trainer.compute.device,
            classes_file=ctx.external("classes"),
        )
    if trainer.compile_mode != "off":
        ctx.note("the first round compiles the networks, which may take minutes")
    _show(ctx, trainer.windows)
    ctx.progress(trainer.round, trainer.last_round, "rounds")
    trainer.run(
        on_pretrain_step=on_pretrain_step, on_round=on_round, on_note=ctx.note, monitor=monitor
    )


def _show(ctx: Context, windows: Sequence[Window]) -> None:
    for window in windows:
        ctx.point(window.round, "rounds", window.figures())


def _write_outputs(ctx: Context, trainer: DistillTrainer, card: Card) -> None:
    """Write the outputs, then judge whether the student learned."""
    weights.save(ctx.output("student"), trainer.student.backbone, cards.metadata(card))
    weights.save(ctx.output("generator"), trainer.generator, trainer.generator.metadata())
    weights.save(ctx.output("ema_generator"), trainer.ema, trainer.ema.metadata())
    metrics.save_curves(ctx.output("curves"), trainer.windows)
    x_NCHW = bank.write(ctx).to(trainer.compute.device)
    teacher_N = _decisions(trainer.teacher, x_NCHW, trainer.options.batch_size)
    student_N = _decisions(trainer.student.eval(), x_NCHW, trainer.options.batch_size)
    agreement = float((teacher_N == student_N).double().mean())
    class_counts_K = torch.bincount(teacher_N, minlength=card.num_classes)
    largest_share = float((class_counts_K.double() / len(x_NCHW)).max())
    ctx.metric("bank_agreement", agreement)
    if agreement > largest_share or card.num_classes == 1 or ctx.is_smoke:
        return
    seen = (
        f"the student decides as the teacher does on {agreement:.3f} of the synthetic images, one "
        f"class alone has {largest_share:.3f} of them"
    )
    if trainer.options.rounds < collapse.FEWEST_ROUNDS:
        ctx.note(f"{seen}: {trainer.options.rounds} rounds taught it nothing; set distill.rounds")
        return
    left = "curves and samples are" if ctx.settings.bank.keep else "curves are"
    raise StageError(
        "distill",
        f"collapsed: {seen}",
        f"set more distill.rounds, or lower the learning rates; {left} in "
        f"{ctx.output('curves').parent}",
    )


def _write_images(ctx: Context, images: UnlabelledImages) -> None:
    """Write what was used of the unlabelled images, and those that were held back."""
    real_images.write(ctx.output("images"), images.list)
    image_bank.save(ctx.output("held_back"), images.held_back_NCHW.float() / 255)
    ctx.metric("images_learned", images.use.learned)
    ctx.metric("images_held_back", images.use.held_back)


@torch.no_grad()
def _decisions(network: Classifier, x_NCHW: Tensor, batch_size: int) -> Tensor:
    """Return the class that a network decides for, of each image."""
    # Parts of one size: the last one by itself could be a single image, which some teachers refuse.
    parts = x_NCHW.tensor_split(math.ceil(len(x_NCHW) / batch_size))
    return torch.cat([network(x_BCHW).argmax(dim=1) for x_BCHW in parts])
