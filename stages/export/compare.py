"""How a network's ONNX file compares with torch: by the spread of the logits, and row by row.

Shape legend: N images, B batch, C channel, H W space, K classes.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.classifier import Classifier
from pipeline.errors import error_summary
from pipeline.settings import Export
from pipeline.stage import StageError
from stages.networks.predict import predict

BATCH_SIZES = (1, 2, 7, 64)
_ALONE = 4
_ROUNDING = 32 * float(np.finfo(np.float32).eps)
"""Of the largest logit: what sums of fp32 in another order differ by."""
_REPEATABLE = 1e-4
"""Of the spread: more between two calls on the same images is no rounding."""
_TIMES_OWN_ERROR = 8.0
"""How much farther from the exact result than torch's fp32 a graph may be."""


class Comparison(NamedTuple):
    """How an exported file compares with torch."""

    max_logit_difference: float
    relative_difference: float
    """As a share of the spread of the logits over the images."""
    agreement: float
    """The share of images to which both give the same class."""
    notes: tuple[str, ...] = ()
    """What the user should know of the file."""


@dataclass(frozen=True)
class Reference:
    """A network's own logits, with which files are compared, and how exact they are."""

    network: Classifier
    images_NCHW: NDArray[np.float32]
    place: str = "export"
    notes: list[str] = field(default_factory=list)

    @cached_property
    def logits_NK(self) -> NDArray[np.float32]:  # noqa: N802  (shape)
        """The logits of all images; StageError where they are not finite."""
        logits_NK = predict(self.infer, self.images_NCHW, batch_size=BATCH_SIZES[-1])
        if not np.isfinite(logits_NK).all():
            raise StageError(
                self.place,
                "the network gives outputs that are not finite (nan or inf)",
                "check its weights",
            )
        return logits_NK

    @cached_property
    def spread(self) -> float:
        """The largest difference of one class's logit between two images."""
        return float(np.ptp(self.logits_NK, axis=0).max())

    @property
    def is_constant(self) -> bool:
        """Whether the logits of all images differ by no more than rounding."""
        return self.spread <= _ROUNDING * float(np.abs(self.logits_NK).max(initial=0.0))

    @cached_property
    def exact_NK(self) -> NDArray[np.float64] | None:  # noqa: N802  (shape)
        """The logits in float64, None where the network does not go through in it."""
        try:
            network = copy.deepcopy(self.network).double()
            x_NCHW = torch.from_numpy(self.images_NCHW).double()
            parts = [_logits(network, x_BCHW) for x_BCHW in torch.split(x_NCHW, BATCH_SIZES[-1])]
        except Exception:  # noqa: BLE001  (a user's network may raise anything)
            return None
        exact_NK: NDArray[np.float64] = np.concatenate(parts)
        return exact_NK

    @cached_property
    def own_error(self) -> float:
        """How far torch's fp32 is from float64, in logits; 0 where that is not known."""
        if self.exact_NK is None:
            return 0.0
        return float(np.abs(self.exact_NK - self.logits_NK).max())

    @cached_property
    def own_agreement(self) -> float:
        """The share of images to which torch gives the same class in fp32 and float64."""
        if self.exact_NK is None:
            return 1.0
        return float((self.exact_NK.argmax(axis=1) == self.logits_NK.argmax(axis=1)).mean())

    def infer(self, x_BCHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits BK of images."""
        return _logits(self.network, torch.from_numpy(x_BCHW))

    def allowed(self, options: Export, difference: float) -> float:
        """Return how much a logit may differ from torch's; `difference` is how much one does."""
        largest = float(np.abs(self.logits_NK).max(initial=0.0))
        allowed = max(options.max_relative_difference * self.spread, _ROUNDING * largest)
        if difference > allowed and _TIMES_OWN_ERROR * self.own_error > allowed:
            allowed = _TIMES_OWN_ERROR * self.own_error
            note = (
                f"the network is ill-conditioned: torch's own fp32 differs from float64 by "
                f"{self.own_error:.3g} in a logit, of a spread of {self.spread:.3g}"
            )
            if note not in self.notes:
                self.notes.append(note)
        if options.max_logit_difference is not None:
            allowed = min(allowed, options.max_logit_difference)
        return allowed

    def check_rows(self, options: Export) -> None:
        """Make sure that the answer for an image does not depend on the others of its batch.

        Raises:
            StageError: It does.
        """
        layers = [
            f"{name.removeprefix('backbone.')}, {type(layer).__name__}"
            for name, layer in self.network.named_modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  (no public base)
            and layer.running_mean is None
        ]
        cause = (
            f"batch norm without running statistics: {layers[0]}"
            if layers
            else "its forward mixes images"
        )
        remedy = (
            "train it with track_running_stats=True, or use GroupNorm"
            if layers
            else "let its forward treat every image by itself"
        )
        wrong = "the answer for an image depends on the others of its batch"
        self._check_steady()
        try:
            rows = [self.infer(x_CHW[None]) for x_CHW in self.images_NCHW[:_ALONE]]
        except Exception as error:
            seen = f"alone, it fails: {error_summary(error)}"
            raise StageError(self.place, f"{wrong} ({cause}; {seen})", remedy) from error
        alone_NK = np.concatenate([row.reshape(1, -1) for row in rows])
        difference = float(np.abs(alone_NK - self.logits_NK[: len(alone_NK)]).max(initial=0.0))
        if difference > self.allowed(options, difference):
            seen = f"a logit differs by {difference:.3g}, of a spread of {self.spread:.3g}"
            raise StageError(self.place, f"{wrong} ({cause}; {seen})", remedy)

    def _check_steady(self) -> None:
        """Make sure that the same images get the same answer; StageError where not."""
        x_BCHW = self.images_NCHW[:_ALONE]
        try:
            difference = float(np.abs(self.infer(x_BCHW) - self.infer(x_BCHW)).max(initial=0.0))
        except Exception:  # noqa: BLE001  (what a user's network raises is said of single images)
            return
        largest = float(np.abs(self.logits_NK).max(initial=0.0))
        if difference > max(_REPEATABLE * self.spread, _ROUNDING * largest):
            raise StageError(
                self.place,
                "the network gives other outputs for the same images each time (a logit differs "
                f"by {difference:.3g}, of a spread of {self.spread:.3g}; dropout or noise that is "
                "always on?)",
                "let its forward draw nothing in evaluation mode: F.dropout(x, p, self.training)",
            )


def compare(
    reference: Reference,
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    options: Export,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> Comparison:
    """Return how a file, of which `infer` gives the logits, compares with torch.

    The images are repeated to fill a batch of each of the sizes.

    Raises:
        StageError: They differ too much.
    """
    largest, onnx_NK = 0.0, None
    images_NCHW = reference.images_NCHW
    for batch_size in batch_sizes:
        x_BCHW = np.resize(images_NCHW, (batch_size, *images_NCHW.shape[1:]))
        torch_BK = np.resize(reference.logits_NK, (batch_size, reference.logits_NK.shape[1]))
        onnx_BK = infer(x_BCHW)
        if onnx_BK.shape != torch_BK.shape:
            raise StageError(
                "export",
                f"the ONNX file gives logits of another shape than torch ({onnx_BK.shape}, not "
                f"{torch_BK.shape})",
                "let the network's forward work on any number of images",
            )
        difference = float(np.abs(onnx_BK - torch_BK).max(initial=0.0))
        largest = max(largest, difference)
        if not np.isfinite(onnx_BK).all() or difference > reference.allowed(options, difference):
            raise _differs(reference, difference, batch_size, options)
        if batch_size == len(images_NCHW):
            onnx_NK = onnx_BK
    if onnx_NK is None:
        onnx_NK = predict(infer, images_NCHW, batch_size=BATCH_SIZES[-1])
    agreement = float((reference.logits_NK.argmax(axis=1) == onnx_NK.argmax(axis=1)).mean())
    # Where torch's own rounding decides, a file cannot be held to more.
    if agreement < options.min_agreement and agreement < reference.own_agreement:
        raise StageError(
            "export",
            f"the ONNX file gives torch's class to too few images ({agreement:.4f} of "
            f"{len(images_NCHW)}, wanted {options.min_agreement:g})",
            "lower export.min_agreement if that is acceptable",
        )
    relative = largest / reference.spread if reference.spread else 0.0
    return Comparison(largest, relative, agreement, tuple(reference.notes))


def _differs(
    reference: Reference, difference: float, batch_size: int, options: Export
) -> StageError:
    bound = options.max_logit_difference
    name, value = "max_relative_difference", options.max_relative_difference
    if bound is not None and bound < value * reference.spread:
        name, value = "max_logit_difference", bound
    return StageError(
        "export",
        f"the ONNX file differs from torch by {difference:.3g} in a logit at batch {batch_size}, "
        f"of a spread of {reference.spread:.3g}",
        f"raise export.{name} above {value:g} if that is acceptable",
    )


def _logits(network: nn.Module, x_BCHW: torch.Tensor) -> NDArray[Any]:
    """Return logits BK; a network that squeezes the batch away gets it back."""
    with torch.no_grad():
        logits: NDArray[Any] = network(x_BCHW).numpy()
    return logits.reshape(len(x_BCHW), -1)
