"""Real images without labels, as a distillation gets them: a part to learn from, a part held back.

Shape legend: N images, C channel, H W space.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipeline.gates.real_images import ImageList, RealImages

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HELD_BACK_SHARE = 0.2
"""Share of the images that the student does not learn from; madpipe's own."""


class StoredPixels(Protocol):
    """Images of shape NCHW and type uint8, in memory or in files that are read when indexed."""

    def __len__(self) -> int:
        """Return the number N of images."""

    def __getitem__(self, indices: "Tensor", /) -> "Tensor":
        """Return some of them, of shape BCHW."""


@dataclass(frozen=True, slots=True)
class UnlabelledImages:
    """What a folder of images without labels comes to, by a fixed draw. Copies count once."""

    learned: StoredPixels
    """For the student's loss; none of them is in the other part."""
    held_back_NCHW: "Tensor"
    """For calibration and the agreement check, uint8."""
    list: ImageList

    @property
    def use(self) -> RealImages:
        """Return the fact that reports carry."""
        return self.list.use

    def on(self, device: "torch.device") -> StoredPixels:
        """Return what the student learns from, on a device where it is in memory."""
        import torch  # noqa: PLC0415  (declarations need none)

        return self.learned.to(device) if isinstance(self.learned, torch.Tensor) else self.learned
