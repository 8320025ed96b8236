"""What a network of the user's gives on a few synthetic images: logits, and gradients of them?

Distillation makes its images by the gradient that passes through teacher and student, and takes
their outputs for logits. A forward that breaks either trains into nothing without a word.

Shape legend: B batch, C channel, H W space, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.classifier import Classifier
from pipeline.errors import error_summary
from pipeline.stage import StageError
from stages.networks.card import Card

_PROBES = 4
_COARSE_PX = 4
_SUM_TOLERANCE = 1e-3
_TOLERANCE = 1e-3
PROBABILITIES = "probabilities"
_LOG_PROBABILITIES = "log-probabilities"
_UNIT_VALUES = "values between 0 and 1 alone (a sigmoid in its forward?)"


def check(network: Classifier, card: Card, place: str, *, learns: bool = False) -> list[str]:
    """Return notes on what is unusual about the outputs of a network.

    The network, in evaluation mode here, is left as it was; so are torch's random numbers.

    Args:
        network: On the CPU.
        card: Of the network.
        place: The setting that names it, for messages.
        learns: Whether it is the one that learns, whose outputs have to take any value.

    Raises:
        StageError: No gradient reaches the images, or the outputs are probabilities.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            x_BCHW = probe_images(card).requires_grad_()
            logits_BK, gradient_BCHW = _run(network, x_BCHW, card, place)
            unsteady = _unsteady(network, x_BCHW.detach(), logits_BK)
    finally:
        network.train(was_training)
    is_judged = card.num_classes > 1 and bool(logits_BK.isfinite().all())
    kind = output_kind(logits_BK) if is_judged else None
    if kind == PROBABILITIES or (kind == _LOG_PROBABILITIES and learns):
        inside = "softmax" if kind == PROBABILITIES else "log_softmax"
        seen = f"{float(logits_BK.min()):.3g} to {float(logits_BK.max()):.3g}"
        raise StageError(
            place,
            f"{card.called} gives {kind}, not logits ({seen}; {inside} in its forward?)",
            f"return what goes into the {inside}",
        )
    # A network that says the same of all images has other faults, which its accuracy shows.
    is_same = bool((logits_BK == logits_BK[:1]).all())
    if gradient_BCHW is None or not (is_same or gradient_BCHW.any()):
        raise StageError(
            place,
            f"{card.called} gives no gradient with respect to its images (torch.no_grad, "
            "inference_mode, detach or rounding in its forward?)",
            "let gradients pass through its forward, since images are made by them",
        )
    # A network that begins to learn gives small values by chance, and logarithms that were taken
    # here are none of its own.
    learns = learns or network.outputs != "logits"
    unusual = f"gives {kind}, taken as logits" if kind and not learns else None
    return [f"{card.called} {text}" for text in (unusual, unsteady) if text]


def probe_images(card: Card) -> Tensor:
    """Return fine and coarse noise in [0, 1], of shape BCHW, the same each time."""
    rng = torch.Generator().manual_seed(0)
    half = _PROBES // 2
    fine_BCHW = torch.rand(half, card.channels, *card.size_px, generator=rng)
    coarse_BCHW = torch.rand(half, card.channels, _COARSE_PX, _COARSE_PX, generator=rng)
    return torch.cat([fine_BCHW, functional.interpolate(coarse_BCHW, size=card.size_px)])


def _run(
    network: Classifier, x_BCHW: Tensor, card: Card, place: str
) -> tuple[Tensor, Tensor | None]:
    """Return the logits BK of images and the gradient of a mixture of them, None without one."""
    try:
        logits_BK: Tensor = network(x_BCHW).float()
        if not logits_BK.requires_grad:
            return logits_BK, None
        mixture_BK = torch.linspace(1.0, 2.0, logits_BK.numel()).view_as(logits_BK)
        (gradient_BCHW,) = torch.autograd.grad(
            (logits_BK * mixture_BK).sum(), x_BCHW, allow_unused=True
        )
    except RuntimeError as error:
        raise StageError(
            place,
            f"{card.called} cannot be differentiated ({error_summary(error)})",
            "change that part of its forward, since images are made by gradients",
        ) from error
    return logits_BK.detach(), gradient_BCHW


@torch.no_grad()
def _unsteady(network: Classifier, x_BCHW: Tensor, logits_BK: Tensor) -> str | None:
    """Return what else than an image decides the logits of it, None where nothing does."""
    tolerance = _TOLERANCE * float(logits_BK.abs().max().clamp(min=1.0))

    def differs(other_BK: Tensor) -> bool:
        return float((other_BK - logits_BK[: len(other_BK)]).abs().max()) > tolerance

    if differs(network(x_BCHW).float()):
        return "gives other outputs for the same images each time (dropout that is always on?)"
    try:
        alone_1K = network(x_BCHW[:1]).float()
    except (RuntimeError, ValueError) as error:
        return f"takes no single image ({error_summary(error)})"
    if alone_1K.shape != logits_BK[:1].shape:
        return f"takes no single image (it returns the shape {tuple(alone_1K.shape)} for one)"
    if differs(alone_1K):
        return "gives an image other outputs in another batch (BatchNorm without its statistics?)"
    return None


def output_kind(logits_BK: Tensor) -> str | None:
    """Return what the outputs, at least two for an image, are where they are no logits."""

    def is_one(sums_B: Tensor) -> bool:
        return bool(((sums_B - 1).abs() < _SUM_TOLERANCE).all())

    if logits_BK.min() >= 0 and is_one(logits_BK.sum(dim=1)):
        return PROBABILITIES
    if logits_BK.max() <= 0 and is_one(logits_BK.exp().sum(dim=1)):
        return _LOG_PROBABILITIES
    if logits_BK.min() >= 0 and logits_BK.max() <= 1:
        return _UNIT_VALUES
    return None
