"""Chance: noise and labels, the same for the whole batch however many processes share it.

Shape legend: B batch of this process, Z noise.
"""

import torch
from torch import Tensor

from models.generator import Generator
from stages.distill.distributed.group import Group
from stages.training import augment

Draw = tuple[Tensor, Tensor | None]
"""Noise of shape BZ, and labels of shape B for a conditional generator."""


class NoiseSampler:
    """A seeded source of what generators take; every process throws for all and keeps its share."""

    def __init__(self, rng: torch.Generator, generator: Generator, group: Group) -> None:
        """Throw with `rng` what `generator` takes."""
        self.rng = rng
        self._noise_dim = generator.noise_dim
        self._image_size_px = generator.image_size_px
        self._num_classes = generator.num_classes
        self._group = group

    def throw(self, count: int) -> Draw:
        """Return noise and labels for `count` images of this process."""
        whole, share = self._share(count)
        device = self.rng.device
        z_BZ = torch.randn((whole, self._noise_dim), generator=self.rng, device=device)
        if not self._num_classes:
            return z_BZ[share], None
        y_B = torch.randint(self._num_classes, (whole,), generator=self.rng, device=device)
        return z_BZ[share], y_B[share]

    def steps(self, count: int) -> Tensor:
        """Return, of shape 2B, where the crops of `count` images of this process begin."""
        whole, share = self._share(count)
        return augment.steps(whole, self._image_size_px, self.rng)[:, share]

    def _share(self, count: int) -> tuple[int, slice]:
        """Return how many to throw for all processes, and which of them are this one's."""
        if not self._group.together:
            return count, slice(0, count)
        first = self._group.rank * count
        return count * self._group.size, slice(first, first + count)
