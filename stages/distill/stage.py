"""The distill stage: a student from a teacher by data-free adversarial distillation.

It is handed the teacher's weights and nothing else: its declaration names no data, and what is
not declared cannot be reached through the context. The one exception is a monitor set, which
has to be switched on, only watches, and is named in the declaration then.
"""

import importlib
import time
from collections.abc import Callable

import torch
from torch import Tensor

from models.classifier import Classifier
from models.generator import Generator
from pipeline.stage import Context, StageError
from stages import bank
from stages.distill import collapse, curves, sample_grid
from stages.distill import ema as averaging
from stages.distill.distributed import launch
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.distill.metrics import Window
from stages.distill.trainer import DistillTrainer
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.networks.card import Card
from stages.training import checkpoint_io

_PROGRESS_EVERY_S = 0.5
_PICTURE_IMAGES = 32
_FEWEST_JUDGED = 256
"""Synthetic images on which a collapse is told at the end, however small the bank is."""

Monitor = Callable[[], float]


def run(ctx: Context) -> None:
    """Leave the student, both generators, the curves, a bank of images and a picture of some."""
    options = ctx.settings.distill
    job = Job(
        options=options,
        seed=ctx.settings.seed,
        student_arch=ctx.settings.student.arch,
        teacher_code=_text(ctx.external("teacher_code")),
        student_code=_text(ctx.external("student_code")),
    )
    kept = ctx.checkpoints.load()
    with launch.hired(job, ctx.input("teacher/weights"), kept) as group:
        game, card = build_trainer(job, ctx.input("teacher/weights"), group)
        if kept is not None:
            game.restore(checkpoint_io.load(kept))
        _say(ctx, game)
        monitor = _monitor(ctx, game, card)
        _play(ctx, game, card, monitor)
        with group.apart():
            _leave(ctx, game, card)
            _count(ctx, game, group)


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def _say(ctx: Context, game: DistillTrainer) -> None:
    if not game.moments.layers and game.terms.batch_norm:
        ctx.note(
            "the teacher has no BatchNorm2d layers with running statistics, so the "
            "moment-matching term is off"
        )
    if not game.is_folded and game.moments.layers:
        ctx.note("the teacher's BatchNorm cannot be folded into its layers, so steps are slower")


def _play(ctx: Context, game: DistillTrainer, card: Card, monitor: Monitor | None) -> None:
    """Play what is left to play, with checkpoints, watching for a collapse."""
    options = ctx.settings.distill
    while game.pretrained < options.pretrain_steps:
        game.pretrain_step()
        ctx.checkpoints.keep(lambda path: checkpoint_io.save(path, game.state()))
        ctx.progress(game.pretrained, options.pretrain_steps, "pretraining steps")
    shown_s = 0.0
    while game.round < options.rounds:
        game.train_round()
        is_new = game.window_is_full
        if is_new:
            game.close_window(monitor() if monitor else None)
            collapse.check(game.windows, card.num_classes)
        ctx.checkpoints.keep(lambda path: checkpoint_io.save(path, game.state()))
        is_due = time.monotonic() - shown_s > _PROGRESS_EVERY_S and bool(game.windows)
        if is_new or is_due:
            ctx.progress(game.round, options.rounds, "rounds", **_shown(game.windows[-1]))
            shown_s = time.monotonic()


def _shown(window: Window) -> dict[str, float]:
    shown = {"student_loss": window.student_loss, "agreement": window.agreement}
    if window.student_top1 is not None:
        shown["top1"] = window.student_top1
    return shown


def _monitor(ctx: Context, game: DistillTrainer, card: Card) -> Monitor | None:
    """Return what measures the student's top-1 on the monitor set, None where it is off."""
    if ctx.settings.distill.monitor == "off":
        return None
    # By name, since images are reached only where the declaration has them.
    monitor = importlib.import_module("stages.distill.monitor")
    measure: Monitor = monitor.opened(
        ctx.settings.data, ctx.external("data"), card, game.student, game.compute.device
    )
    return measure


def _leave(ctx: Context, game: DistillTrainer, card: Card) -> None:
    """Write the outputs, unless the student did not learn."""
    size = ctx.settings.distill.bank_size
    drawn = max(size, _FEWEST_JUDGED)
    parts = [
        _samples(game, game.generator, drawn - drawn // 2),
        _samples(game, game.ema, drawn // 2),
    ]
    judged_NCHW = torch.cat(parts)
    teacher_N = _decisions(game.teacher, judged_NCHW, game)
    student_N = _decisions(game.student.eval(), judged_NCHW, game)
    agreement = float((teacher_N == student_N).double().mean())
    shares_K = torch.bincount(teacher_N, minlength=card.num_classes).double() / drawn
    x_NCHW = torch.cat([parts[0][: size - size // 2], parts[1][: size // 2]])
    if agreement <= float(shares_K.max()) and card.num_classes > 1:
        raise StageError(
            "distill",
            f"collapsed: the student says what the teacher says on {agreement:.3f} of the "
            f"synthetic images, one class alone has {float(shares_K.max()):.3f} of them",
            "play more rounds, or lower the learning rates",
        )
    ctx.metric("bank_agreement", agreement)
    weights.save(ctx.output("student"), game.student.backbone, cards.metadata(card))
    weights.save(ctx.output("generator"), game.generator, game.generator.metadata())
    weights.save(ctx.output("ema_generator"), game.ema, game.ema.metadata())
    curves.save(ctx.output("curves"), game.windows)
    bank.save(ctx.output("bank"), x_NCHW)
    half = _PICTURE_IMAGES // 2
    sample_grid.save(
        ctx.output("picture"),
        {"G": x_NCHW[:half], "EMA of G": x_NCHW[size - size // 2 :][:half]},
    )


def _count(ctx: Context, game: DistillTrainer, group: Group) -> None:
    """Record the figures of the run."""
    ctx.metric("peak_memory_bytes", game.compute.peak_memory_bytes())
    ctx.metric("params", factory.parameter_count(game.student))
    ctx.metric("student_samples", game.student_samples)
    ctx.metric("precision", game.compute.precision)
    ctx.metric("processes", group.size)
    for name, value in curves.figures(game.windows).items():
        ctx.metric(name, value)


@torch.no_grad()
def _samples(game: DistillTrainer, generator: Generator, count: int) -> Tensor:
    """Draw images as the student saw them: normalised by a batch of the size it saw."""
    parts: list[Tensor] = []
    # Its running statistics are part of what is kept, and drawing is no training.
    with averaging.untracked(generator):
        while (left := count - sum(len(each) for each in parts)) > 0:
            part: Tensor = generator(*game.dice.throw(game.options.batch_size))
            parts.append(part[:left])
    return torch.cat(parts)


@torch.no_grad()
def _decisions(network: Classifier, x_NCHW: Tensor, game: DistillTrainer) -> Tensor:
    """Return the class that a network sees in each image."""
    batches = torch.split(x_NCHW, game.options.batch_size)
    return torch.cat([network(x_BCHW).argmax(dim=1) for x_BCHW in batches])
