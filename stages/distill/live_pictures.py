"""What G and its EMA make, shown while they learn: the same noise each time, so that it compares.

Looking changes nothing of the training: the noise has a generator of its own, statistics of
BatchNorm stay as they are, and networks run in the mode that they are in.
"""

import functools
import time

import torch

from pipeline.stage import Context
from stages.distill import sample_grid
from stages.distill.batch_norm import untracked
from stages.distill.distributed.group import Group
from stages.distill.sampler import NoiseSampler
from stages.distill.trainer import DistillTrainer

NAME = "live_samples"
_IMAGES = 32
"""In a batch, by which BatchNorm normalises."""
_DRAWN = 16
_SEED = 20220922
_LEAST_INTERVAL_S = 60.0


class LivePictures:
    """Pictures of both generators, about one a minute at most."""

    def __init__(self, ctx: Context, trainer: DistillTrainer) -> None:
        """Sample the noise; the first picture of a training that goes on has to wait."""
        self._ctx = ctx
        self._trainer = trainer
        rng = torch.Generator(device=trainer.compute.device).manual_seed(_SEED)
        self._inputs = NoiseSampler(rng, trainer.generator, Group()).sample(_IMAGES)
        self._next_s = time.monotonic() + (_LEAST_INTERVAL_S if trainer.round else 0.0)

    def show(self) -> None:
        """Show what the generators make now, if it is the end or the last picture is old enough.

        Where no synthetic images are to be kept, none is shown.
        """
        if not self._ctx.settings.bank.keep:
            return
        is_last = self._trainer.round == self._trainer.last_round
        if time.monotonic() < self._next_s and not is_last:
            return
        self._next_s = time.monotonic() + _LEAST_INTERVAL_S
        write = functools.partial(sample_grid.save, rows=self._images())
        self._ctx.picture(NAME, self._trainer.round, write)

    @torch.no_grad()
    def _images(self) -> dict[str, torch.Tensor]:
        """Return images in [0, 1] and of shape NCHW of each generator."""
        trainer = self._trainer
        generators = {"G": trainer.generator, "EMA of G": trainer.ema}
        with (
            trainer.group.local_only(),
            untracked(*generators.values()),
            trainer.compute.autocast(),
            trainer.compute.eager(),
        ):
            return {
                name: trainer.scale.full(generator(*self._inputs))[:_DRAWN]
                for name, generator in generators.items()
            }
