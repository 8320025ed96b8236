"""The teacher stage: train the network to distil from, or load the user's weights.

The only stage besides validate that sees labelled images.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.classifier import Classifier
from pipeline.intervals import share_bounds
from pipeline.settings import Teacher
from pipeline.stage import Context, StageError
from stages import card as cards
from stages import compute, evaluate, networks, progressfile, weights
from stages.card import Card
from stages.data import images
from stages.data.images import Dataset, Images
from stages.schedule import one_cycle

_WARMUP = 0.2
_SHIFT_SHARE = 8
_CONFIDENCE = 0.99


def run(ctx: Context) -> None:
    """Leave the teacher's weights with its card."""
    dataset = images.load(ctx.settings.data, ctx.external("data"))
    card = Card(
        arch=ctx.settings.teacher.arch,
        channels=dataset.spec.channels,
        image_size_px=dataset.spec.image_size_px,
        mean=dataset.spec.mean,
        std=dataset.spec.std,
        classes=dataset.train.classes,
    )
    path = ctx.external("teacher_weights")
    device = compute.choose("fp32").device
    if path is None:
        network = _train(ctx, card, dataset)
    else:
        network = networks.build(card, code=ctx.external("teacher_code"), place="teacher.arch")
        tensors = weights.read(path, "teacher.weights")
        weights.fill(network.backbone, tensors, arch=card.arch, place="teacher.weights")
        network.to(device)
    _check(ctx, network, dataset, device)
    ctx.metric("params", networks.parameters(network))
    weights.save(ctx.output("weights"), network.backbone, cards.metadata(card))


def _check(ctx: Context, network: Classifier, dataset: Dataset, device: torch.device) -> None:
    """Refuse a teacher that is no better than chance: nothing good can be distilled from it."""
    logits_NK = evaluate.predict(network, dataset.held_out, device)
    n = len(dataset.held_out.y_N)
    top1 = evaluate.top1(logits_NK, dataset.held_out.y_N)
    chance = float(torch.bincount(dataset.held_out.y_N).max()) / n
    if not torch.isfinite(logits_NK).all():
        raise StageError("teacher", "gives outputs that are not finite (nan)", "check its weights")
    if share_bounds(round(top1 * n), n, _CONFIDENCE).low <= chance:
        raise StageError(
            "teacher",
            f"is no better than chance (top-1 {top1:.3f} on {n} images, chance {chance:.3f})",
            "check its weights, the order of the classes, and data.mean and data.std",
        )
    ctx.metric("top1", top1)


def _train(ctx: Context, card: Card, dataset: Dataset) -> Classifier:
    """Train on the labelled images with SGD and one learning-rate cycle."""
    rng = compute.seeded(ctx.settings.seed, "teacher", torch.device("cpu"))
    network = networks.build(card, code=ctx.external("teacher_code"), place="teacher.arch")
    training = _Training(network, dataset.train, ctx.settings.teacher, rng)
    if (kept := ctx.checkpoints.load()) is not None:
        training.restore(progressfile.load(kept))
    while training.step < training.steps:
        loss = training.advance()
        ctx.checkpoints.keep(lambda path: progressfile.save(path, training.state()))
        if training.step % training.batches == 0:
            done = training.step // training.batches
            ctx.progress(done, ctx.settings.teacher.epochs, "epochs", loss=loss.item())
    return network


class _Training:
    """A training under way: all that a checkpoint must hold, and one step of it."""

    def __init__(
        self, network: Classifier, data: Images, options: Teacher, rng: torch.Generator
    ) -> None:
        self.place = compute.choose("auto")
        self.rng = rng
        self.network = network.to(self.place.device).train()
        self.data = data
        self.options = options
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=options.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.batches = max(1, len(data.y_N) // options.batch_size)
        self.step = 0
        self.steps = self.batches * options.epochs
        self.order_N = torch.empty(0, dtype=torch.int64)

    def advance(self) -> Tensor:
        """Take one step and return its loss."""
        if self.step % self.batches == 0:
            self.order_N = torch.randperm(len(self.data.y_N), generator=self.rng)
        first = self.step % self.batches * self.options.batch_size
        indices_B = self.order_N[first : first + self.options.batch_size]
        rate = one_cycle(self.step, self.steps, self.options.learning_rate, _WARMUP)
        self.optimiser.param_groups[0]["lr"] = rate
        x_BCHW = _shifted(self.data.batch(indices_B, self.place.device), self.rng)
        with self.place.autocast():
            logits_BK = self.network(x_BCHW)
        y_B = self.data.y_N[indices_B].to(self.place.device)
        loss = functional.cross_entropy(logits_BK.float(), y_B)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        return loss.detach()

    def state(self) -> progressfile.State:
        """Return all that decides the steps to come."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.get_state(),
            "order": self.order_N,
        }

    def restore(self, saved: progressfile.State) -> None:
        """Go on from what `state` returned."""
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.rng.set_state(saved["rng"])
        self.step, self.order_N = saved["step"], saved["order"]


def _shifted(x_BCHW: Tensor, rng: torch.Generator) -> Tensor:
    """Return the images, all moved by one random step of at most an eighth of their side."""
    size = x_BCHW.shape[-1]
    most = max(1, size // _SHIFT_SHARE)
    top, left = (int(v) for v in torch.randint(0, 2 * most + 1, (2,), generator=rng))
    padded = functional.pad(x_BCHW, (most,) * 4)
    return padded[..., top : top + size, left : left + size]
