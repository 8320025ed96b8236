"""How large the networks see images: as generators make them in the first rounds, then enlarged.

To begin with small images and end with those of the real size is progressive resizing, common where
networks learn from photographs (Touvron et al. 2019, FixRes, of what the size at the end is for);
images made smaller than the teacher takes are the first part of MUSE (Tran et al. 2024).

Shape legend: B batch, C channel, H W space.
"""

import math

import torch
from torch import Tensor

from models.classifier import Classifier
from models.generator import Generator, resized
from pipeline.image_size import size_text
from pipeline.settings import Distill
from pipeline.stage import StageError

_PROBES = 2


class ImageScale:
    """The size at which images are seen in the round that `enter` names; before any, the full."""

    def __init__(self, options: Distill, generator: Generator) -> None:
        """Take the sizes from a generator, and how many rounds are of its own from the settings."""
        self.native_px, self.full_px = generator.native_px, generator.size_px
        self.seen_px = self.full_px
        self.small_share = options.small_rounds if self.native_px != self.full_px else 0.0
        self.small_rounds = round(self.small_share * options.rounds)
        self.is_spread = False
        """Whether small rounds are spread over all, so that a few rounds stand for the whole."""

    def enter(self, round_number: int) -> bool:
        """Begin a round, counted from 0; return whether images are seen larger or smaller in it."""
        is_small = self._is_small(round_number)
        self.seen_px = self.native_px if is_small else self.full_px
        return round_number > 0 and is_small != self._is_small(round_number - 1)

    def _is_small(self, round_number: int) -> bool:
        if self.is_spread:
            share = self.small_share
            return math.floor((round_number + 1) * share) > math.floor(round_number * share)
        return round_number < self.small_rounds

    def seen(self, x_BCHW: Tensor) -> Tensor:
        """Return images of any size as the networks see them in this round."""
        return resized(x_BCHW, self.seen_px)

    def full(self, x_BCHW: Tensor) -> Tensor:
        """Return images of any size as the teacher takes them."""
        return resized(x_BCHW, self.full_px)

    def note(self) -> str:
        """Return what is to be known of rounds that differ in what they take."""
        return (
            f"the first {self.small_rounds} rounds are of images of {size_text(self.native_px)}, "
            f"all others of {size_text(self.full_px)}, and take longer (distill.small_rounds)"
        )

    @torch.no_grad()
    def check(self, network: Classifier, role: str) -> None:
        """Try images of the size of the first rounds on the teacher or the student, by its role.

        Raises:
            StageError: The network takes images of one size alone.
        """
        if not self.small_rounds:
            return
        was_training = network.training
        network.eval()
        x_BCHW = network.mean_1C11.new_zeros(_PROBES, network.mean_1C11.shape[1], *self.full_px)
        # Not as it is compiled: these passes would be compiled for this alone, and a failing
        # compiler is no fault of the network.
        try:
            small_BK = network.forward(resized(x_BCHW, self.native_px))
            is_fit = small_BK.shape == network.forward(x_BCHW).shape
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001  (a network of the user may object in any way)
            is_fit = False
        network.train(was_training)
        if not is_fit:
            raise StageError(
                "distill.small_rounds",
                f"the {role} takes no images of {size_text(self.native_px)}, only of "
                f"{size_text(self.full_px)}",
                "set distill.small_rounds = 0: its images are enlarged in all rounds then",
            )
