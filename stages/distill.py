"""The distill stage: a student from a teacher by data-free adversarial distillation.

It is handed the teacher's weights and nothing else: its declaration names no data, and what is
not declared cannot be reached through the context.
"""

import math

import msgspec
import torch
from torch import Tensor

from models.generator import Generator
from pipeline.stage import Context, StageError
from stages import bank, compute, networks, picture, progressfile, weights
from stages import card as cards
from stages.card import Card
from stages.mad.game import Game, Losses

_PROGRESS_EVERY = 10
_PICTURE_IMAGES = 32


def run(ctx: Context) -> None:
    """Leave the student, both generators, a bank of synthetic images and a picture of some."""
    options = ctx.settings.distill
    teacher, card = networks.load(
        ctx.input("teacher/weights"), code=ctx.external("teacher_code"), place="teacher"
    )
    student_card = msgspec.structs.replace(card, arch=ctx.settings.student.arch)
    place = compute.choose(options.precision)
    rng = compute.seeded(ctx.settings.seed, "distill", place.device)
    game = Game(
        teacher=teacher,
        student=networks.build(
            student_card, code=ctx.external("student_code"), place="student.arch"
        ),
        generator=_generator(ctx, card),
        options=options,
        compute=place,
        rng=rng,
    )
    if not game.moments.layers:
        ctx.note("the teacher has no BatchNorm layers, so the moment-matching term is off")
    _play(ctx, game)
    _leave(ctx, game, student_card)


def _generator(ctx: Context, card: Card) -> Generator:
    options = ctx.settings.distill
    try:
        return Generator(
            noise_dim=options.noise_dim,
            image_size_px=card.image_size_px,
            channels=card.channels,
            width=options.generator_width,
        )
    except ValueError as error:
        raise StageError("distill", str(error), "use images of 8, 28, 32, 64 or 224 px") from error


def _play(ctx: Context, game: Game) -> None:
    """Play all rounds, with checkpoints."""
    rounds = ctx.settings.distill.rounds
    if (kept := ctx.checkpoints.load()) is not None:
        game.restore(progressfile.load(kept))
    while game.round < rounds:
        played = game.play_round()
        ctx.checkpoints.keep(lambda path: progressfile.save(path, game.state()))
        if game.round % _PROGRESS_EVERY == 0 or game.round == rounds:
            figures = _figures(played, game.round)
            ctx.progress(game.round, rounds, "rounds", **figures)


def _figures(played: Losses, number: int) -> dict[str, float]:
    figures = {"student_loss": played.student.item(), "generator_loss": played.generator.item()}
    for name, value in figures.items():
        if not math.isfinite(value):
            raise StageError(
                "distill",
                f"{name} is not finite in round {number} ({value})",
                "lower distill.student_learning_rate or distill.generator_learning_rate",
            )
    return figures


def _leave(ctx: Context, game: Game, card: Card) -> None:
    """Write the outputs, unless the student did not learn."""
    size = ctx.settings.distill.bank_size
    x_NCHW = torch.cat(
        [_samples(game, game.generator, size - size // 2), _samples(game, game.ema, size // 2)]
    )
    game.student.eval()
    with torch.no_grad():
        teacher_N = game.teacher(x_NCHW).argmax(dim=1)
        student_N = game.student(x_NCHW).argmax(dim=1)
    agreement = float((teacher_N == student_N).double().mean())
    shares_K = torch.bincount(teacher_N, minlength=card.num_classes).double() / size
    if agreement <= float(shares_K.max()) and card.num_classes > 1:
        raise StageError(
            "distill",
            f"collapsed: the student says what the teacher says on {agreement:.3f} of the "
            f"synthetic images, one class alone has {float(shares_K.max()):.3f} of them",
            "play more rounds, or lower the learning rates",
        )
    ctx.metric("bank_agreement", agreement)
    ctx.metric("params", networks.parameters(game.student))
    ctx.metric("precision", game.compute.precision)
    weights.save(ctx.output("student"), game.student.backbone, cards.metadata(card))
    weights.save(ctx.output("generator"), game.generator, game.generator.metadata())
    weights.save(ctx.output("ema_generator"), game.ema, game.ema.metadata())
    bank.save(ctx.output("bank"), x_NCHW)
    half = _PICTURE_IMAGES // 2
    picture.save(
        ctx.output("picture"),
        {"G": x_NCHW[:half], "EMA of G": x_NCHW[size - size // 2 :][:half]},
    )


@torch.no_grad()
def _samples(game: Game, generator: Generator, count: int) -> Tensor:
    """Draw images as the student saw them: normalised by their batch."""
    shape = (max(count, 2), game.options.noise_dim)
    noise_NZ = torch.randn(shape, generator=game.rng, device=game.compute.device)
    images: Tensor = generator(noise_NZ)[:count]
    return images
