"""How large the networks see images: as generators make them in the first rounds, then enlarged.

To begin with small images and end with those of the real size is progressive resizing, common where
networks learn from photographs (Touvron et al. 2019, FixRes, of what the size at the end is for);
images made smaller than the teacher takes are the first part of MUSE (Tran et al. 2024).

Shape legend: B batch, C channel, H W space.
"""

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
        is_enlarged = self.native_px != self.full_px
        self.small_rounds = round(options.small_rounds * options.rounds) if is_enlarged else 0

    def enter(self, round_number: int) -> bool:
        """Begin a round, counted from 0; return whether it is the first of larger images."""
        self.seen_px = self.native_px if round_number < self.small_rounds else self.full_px
        return round_number == self.small_rounds > 0

    def seen(self, x_BCHW: Tensor) -> Tensor:
        """Return images of any size as the networks see them in this round."""
        return resized(x_BCHW, self.seen_px)

    def full(self, x_BCHW: Tensor) -> Tensor:
        """Return images of any size as the teacher takes them."""
        return resized(x_BCHW, self.full_px)

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
        try:
            is_fit = network(resized(x_BCHW, self.native_px)).shape == network(x_BCHW).shape
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
