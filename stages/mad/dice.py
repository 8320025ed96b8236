"""Chance: noise and labels, the same for the whole batch however many processes share it.

Shape legend: B batch of this process, Z noise.
"""

import torch
from torch import Tensor

from models.generator import Generator
from stages.mad.group import Group

Draw = tuple[Tensor, Tensor | None]
"""Noise of shape BZ, and labels of shape B for a conditional generator."""


class Dice:
    """A seeded source of what generators take; every process throws for all and keeps its share."""

    def __init__(self, rng: torch.Generator, generator: Generator, group: Group) -> None:
        """Throw with `rng` what `generator` takes."""
        self.rng = rng
        self._noise_dim = generator.noise_dim
        self._num_classes = generator.num_classes
        self._group = group

    def throw(self, count: int) -> Draw:
        """Return noise and labels for `count` images of this process."""
        size = self._group.size if self._group.together else 1
        first = self._group.rank * count if size > 1 else 0
        share = slice(first, first + count)
        device = self.rng.device
        z_BZ = torch.randn((count * size, self._noise_dim), generator=self.rng, device=device)
        if not self._num_classes:
            return z_BZ[share], None
        y_B = torch.randint(self._num_classes, (count * size,), generator=self.rng, device=device)
        return z_BZ[share], y_B[share]
