"""Where the student's images come from: seeded noise for generators, and a memory of past images.

Shape legend: B batch of this process, N images, A amounts, Z noise, C channel, H W space,
K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.generator import Generator
from pipeline.image_size import ImageSize
from stages.distill.batch_norm import untracked
from stages.distill.distributed.group import Group
from stages.training import augment

_PROBES = 8


@dataclass(frozen=True, slots=True)
class StudentBatch:
    """Images for the student and the teacher's logits of them."""

    x_BCHW: Tensor
    teacher_BK: Tensor
    weights: tuple[float, ...]
    """Of each part in the loss; the parts are of equal size, one after the other."""
    real_count: int = 0
    """How many at the end are real images; all others are synthetic."""

    def synthetic(self, student_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's and the teacher's logits of the synthetic images alone."""
        count = len(student_BK) - self.real_count
        return student_BK[:count], self.teacher_BK[:count]


class NoiseSampler:
    """Seeded inputs of a generator; every process samples those of all and keeps its share."""

    def __init__(self, rng: torch.Generator, generator: Generator, group: Group) -> None:
        """Sample with `rng` what `generator` takes."""
        self.rng = rng
        self._generator = generator
        self._group = group

    def sample(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return noise of shape BZ for `count` images of this process, and labels of shape B.

        An unconditional generator takes no labels.
        """
        total, share = self._share(count)
        device = self.rng.device
        noise_dim, num_classes = self._generator.noise_dim, self._generator.num_classes
        z_BZ = torch.randn((total, noise_dim), generator=self.rng, device=device)
        if not num_classes:
            return z_BZ[share], None
        y_B = torch.randint(num_classes, (total,), generator=self.rng, device=device)
        return z_BZ[share], y_B[share]

    def augmented(self, x_BCHW: Tensor, how: str, colour_jitter: float) -> Tensor:
        """Return images of this process changed as `augment` and `colour_jitter` of distill say."""
        if how != "none":
            height, width = x_BCHW.shape[2:]
            offsets_2B = self.crop_offsets(len(x_BCHW), (height, width))
            flipped_B = self.flips(len(x_BCHW)) if how == "shift-flip" else None
            x_BCHW = augment.random_shift(x_BCHW, offsets_2B, flipped_B)
        if colour_jitter:
            amounts_BA = self.colour_amounts(len(x_BCHW)).to(x_BCHW.device)
            x_BCHW = augment.jitter_colours(x_BCHW, amounts_BA, colour_jitter)
        return x_BCHW

    def indices(self, size: int, count: int) -> Tensor:
        """Return, of shape B, `count` numbers below `size` for this process, with repetition."""
        total, share = self._share(count)
        return torch.randint(size, (total,), generator=self.rng, device=self.rng.device)[share]

    def crop_offsets(self, count: int, size_px: ImageSize) -> Tensor:
        """Return, of shape 2B, where the crops of `count` images of this process begin."""
        total, share = self._share(count)
        return augment.crop_offsets(total, size_px, self.rng)[:, share]

    def flips(self, count: int) -> Tensor:
        """Return, of shape B, which of `count` images of this process to mirror."""
        total, share = self._share(count)
        flips_B = torch.randint(2, (total,), generator=self.rng, device=self.rng.device)
        return flips_B[share].bool()

    def colour_amounts(self, count: int) -> Tensor:
        """Return, of shape BA, how much to change the colours of `count` images of this process."""
        total, share = self._share(count)
        shape = (total, 2 + self._generator.channels)
        return 2 * torch.rand(shape, generator=self.rng, device=self.rng.device)[share] - 1

    def _share(self, count: int) -> tuple[int, slice]:
        """Return how many to sample for all processes, and which of them are this one's."""
        if not self._group.is_distributed:
            return count, slice(0, count)
        first = self._group.rank * count
        return count * self._group.size, slice(first, first + count)


@torch.no_grad()
def probe_images(generator: Generator, device: torch.device, group: Group) -> Tensor:
    """Return a few images of a generator; no process's random numbers or statistics change."""
    rng = torch.Generator(device=device).manual_seed(0)
    inputs = NoiseSampler(rng, generator, Group()).sample(_PROBES)
    with group.local_only(), untracked(generator):
        x_BCHW: Tensor = generator(*inputs)
    return x_BCHW


class Memory(nn.Module):
    """A ring of past images (after Binici et al. 2022, MB-DFKD); the oldest make room.

    They are uint8, allocated once on the device, beside the teacher's logits of them.
    """

    x_NCHW: Tensor
    teacher_NK: Tensor
    seen: Tensor

    def __init__(
        self,
        size: int,
        image_shape: tuple[int, int, int],
        device: torch.device,
        num_classes: int = 0,
    ) -> None:
        """Make room for `size` images of shape CHW."""
        super().__init__()
        x_NCHW = torch.zeros((size, *image_shape), dtype=torch.uint8, device=device)
        self.register_buffer("x_NCHW", x_NCHW)
        self.register_buffer("teacher_NK", torch.zeros((size, num_classes), device=device))
        # On the CPU, where nothing waits for it to be read.
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """Return how many images it holds."""
        return min(int(self.seen), len(self.x_NCHW))

    def push(self, x_BCHW: Tensor, teacher_BK: Tensor | None = None) -> None:
        """Store images with values in [0, 1], at most as many as there is room for.

        Of more than that it takes some from everywhere, since they may be of several sources.
        """
        size = len(self.x_NCHW)
        if len(x_BCHW) > size:
            kept_B = torch.arange(size, device=x_BCHW.device) * len(x_BCHW) // size
            x_BCHW = x_BCHW[kept_B]
            teacher_BK = None if teacher_BK is None else teacher_BK[kept_B]
        places_B = (int(self.seen) + torch.arange(len(x_BCHW), device=x_BCHW.device)) % size
        self.x_NCHW[places_B] = (x_BCHW * 255).round_().to(torch.uint8)
        if teacher_BK is not None:
            self.teacher_NK[places_B] = teacher_BK
        self.seen += len(x_BCHW)

    def clear(self) -> None:
        """Forget all images."""
        self.seen.zero_()

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Return `count` of its images at random, with repetition, as float in [0, 1]."""
        return self.sample_pairs(count, rng)[0]

    def sample_pairs(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the same and, of shape BK, the teacher's logits that they were pushed with."""
        indices_B = torch.randint(len(self), (count,), generator=rng, device=rng.device)
        x_BCHW = self.x_NCHW[indices_B].float() / 255
        return x_BCHW.contiguous(memory_format=torch.channels_last), self.teacher_NK[indices_B]
