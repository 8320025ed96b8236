"""How far the images move: the student's predictions before and after a generator's step.

Do et al. 2022 plot the Jensen-Shannon divergence of these for the generator and its EMA. That
it is taken on the same noise, with the student in eval mode, is madpipe's reading.

Shape legend: B batch, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.generator import Generator
from stages.distill import losses
from stages.distill.distributed.group import Group
from stages.distill.ema import untracked
from stages.distill.sampler import Draw, NoiseSampler
from stages.training.device import Compute

_PROBES = 64
_SEED = 20220921


class Divergence:
    """Fixed noise on which the student is asked what it sees, at no cost to the game."""

    def __init__(
        self,
        student: nn.Module,
        generators: Mapping[str, Generator],
        compute: Compute,
        group: Group,
    ) -> None:
        """Throw the noise, with dice of its own, so that the game's are not touched."""
        self._student = student
        self._generators = generators
        self._compute = compute
        self._group = group
        rng = torch.Generator(device=compute.device).manual_seed(_SEED)
        first = next(iter(generators.values()))
        self._draw: Draw = NoiseSampler(rng, first, Group()).throw(_PROBES)

    @torch.no_grad()
    def look(self) -> dict[str, Tensor]:
        """Return the student's logits of shape BK on each generator's images."""
        was_training = self._student.training
        self._student.eval()
        with (
            self._group.apart(),
            untracked(*self._generators.values()),
            self._compute.autocast(),
        ):
            seen = {
                name: self._student(generator(*self._draw)).float()
                for name, generator in self._generators.items()
            }
        self._student.train(was_training)
        return seen

    @staticmethod
    def between(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the Jensen-Shannon divergence in nats for each generator."""
        return {f"divergence_{name}": losses.js(before[name], after[name], 1.0) for name in before}
