"""The teacher stage: train the network to distil from, or load the user's weights.

The only stage besides validate that sees labelled images.
"""

import math
import time
from pathlib import Path

import msgspec
import torch

from models.classifier import Classifier
from pipeline.stage import Context, StageError
from stages.data import images
from stages.data.images import Dataset, check_labels
from stages.hubs.records import NamedWeights
from stages.networks import card as cards
from stages.networks import factory, weights
from stages.networks.card import Card
from stages.networks.predict import predict_torch, top1_accuracy
from stages.networks.program_kind import program_kind
from stages.teacher import chance, class_order, from_weights, program_card
from stages.teacher.trainer import TeacherTrainer
from stages.training import device as devices
from stages.training import memory, state_file
from stages.training.contention import Contention

_PROGRESS_EVERY_S = 0.5
_SMOKE_STEPS = 5
_SMOKE_IMAGES = 64
_TRAIN_OTHERWISE = "train it longer (teacher.epochs), or lower teacher.learning_rate"


def run(ctx: Context) -> None:
    """Leave the teacher's weights with its card."""
    _train_or_load(ctx)
    devices.release_memory()


def _train_or_load(ctx: Context) -> None:
    path, named = ctx.external("teacher_weights"), from_weights.named(ctx)
    dataset = images.load(
        ctx.settings.data,
        ctx.external("data"),
        classes_file=ctx.external("classes"),
        known_classes=from_weights.class_names_of(path, named) if path else (),
        choose_count=lambda count: ctx.play(count, "images", few=_SMOKE_IMAGES),
        on_progress=lambda done, total: ctx.progress(done, total, "images (read)"),
    )
    for note in dataset.notes:
        ctx.note(note)
    card = Card(
        arch=ctx.settings.teacher.arch,
        **msgspec.structs.asdict(dataset.spec.preprocessing(dataset.train.classes)),
    )
    device = devices.select("fp32").device
    if path is None:
        network = _train(ctx, card, dataset)
    else:
        network, card = _from_file(ctx, card, path, named)
        network = network.to(device)
    check_labels(dataset.held_out.y_N.numpy(), len(dataset.held_out.classes))

    def on_images(done: int, total: int) -> None:
        ctx.progress(done, total, "images")

    with devices.enough_memory("teacher", "free some (nvidia-smi shows who holds it)"):
        logits_NK = predict_torch(network, dataset.held_out, device, on_progress=on_images)
    remedy = _TRAIN_OTHERWISE if path is None else None
    from_weights.check_finite(logits_NK, remedy)
    top1, doubt = top1_accuracy(logits_NK, dataset.held_out.y_N), None
    if not ctx.is_smoke:
        order = class_order.better(logits_NK, dataset.held_out.y_N, dataset.held_out.classes)
        doubt = chance.doubt(logits_NK, dataset.held_out.y_N, order or remedy) or order
    if doubt:
        ctx.note(doubt)
    ctx.metric("top1", top1)
    ctx.metric("params", factory.parameter_count(network))
    weights.save(ctx.output("weights"), network.backbone, cards.metadata(card))


def _from_file(
    ctx: Context, card: Card, path: Path, named: NamedWeights | None
) -> tuple[Classifier, Card]:
    """Return the network in the user's file, for the images that the card describes."""
    teacher, data = ctx.settings.teacher, ctx.settings.data
    if program_kind(path):
        file = program_card.read(path, teacher, data)
        card = program_card.with_images(file, path, teacher, data, card)
        return from_weights.load_program(ctx, file, path, card)
    card = msgspec.structs.replace(card, output=cards.output_text(teacher.output))
    tensors = weights.read(path, "teacher.weights")
    card = from_weights.compare_preprocessing(ctx, card, path, tensors)
    card = from_weights.with_hub(ctx, card, named)
    return from_weights.load(ctx, card, tensors)


def _train(ctx: Context, card: Card, dataset: Dataset) -> Classifier:
    """Train on the labelled images, with checkpoints."""
    if len(dataset.train.y_N) == 0:
        raise StageError(
            "data.root",
            "holds no training images (0 found)",
            "add the training part, or set teacher.weights",
        )
    rng = devices.seeded(ctx.settings.seed, "teacher", torch.device("cpu"))
    network = factory.build(
        card, code=ctx.external("teacher_code"), place="teacher.arch", on_note=ctx.note
    )
    trainer = TeacherTrainer(network, dataset.train, ctx.settings.teacher, rng, ctx.note)
    if why := trainer.compute.why_eager():
        ctx.note(why)
    elif trainer.compute.compile_mode("auto") != "off":
        ctx.note("the first step compiles the network, which may take minutes")
    estimate = memory.of_network(network, channels=card.channels, image_size_px=card.size_px)
    available_bytes = memory.available_bytes(trainer.compute.device)
    batch_size = min(ctx.settings.teacher.batch_size, len(dataset.train.y_N))
    if estimate and (
        warning := estimate.warning(batch_size, available_bytes, "teacher.batch_size = {}".format)
    ):
        ctx.note(warning)
    saved = state_file.load_if_sound(ctx.checkpoints.load(), ctx.note)
    if saved is not None and (why := trainer.restore(saved)):
        ctx.note(why)
    contention = Contention(trainer.compute.device, ctx.note)
    reported_s = time.monotonic()
    steps = ctx.play(trainer.steps, "steps", few=_SMOKE_STEPS)
    for epoch, mean_loss in enumerate(trainer.epoch_losses, start=1):
        ctx.point(epoch, "epochs", {"loss": float(mean_loss)})
    ctx.progress(trainer.step, steps, "steps")
    while trainer.step < steps:
        with devices.enough_memory("teacher.batch_size", "lower it"):
            loss = trainer.train_step()
        if trainer.step % trainer.batches == 0:
            _report_epoch(ctx, trainer)
        ctx.checkpoints.keep(lambda path: state_file.save(path, trainer.state()))
        is_due = time.monotonic() - reported_s > _PROGRESS_EVERY_S
        if is_due or ctx.is_smoke or trainer.step % trainer.batches == 0:
            ctx.progress(trainer.step, steps, "steps", loss=loss.item())
            contention.look()
            reported_s = time.monotonic()
    return trainer.result()


def _report_epoch(ctx: Context, trainer: TeacherTrainer) -> None:
    """Report the loss of the epoch that ended; StageError where the training has diverged."""
    epoch, mean_loss = len(trainer.epoch_losses), float(trainer.epoch_losses[-1])
    if not math.isfinite(mean_loss):
        wrong = f"leads to a loss that is not finite in epoch {epoch} ({mean_loss})"
        raise StageError("teacher.learning_rate", wrong, "lower it")
    ctx.point(epoch, "epochs", {"loss": mean_loss})
