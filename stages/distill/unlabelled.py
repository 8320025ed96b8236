"""Unlabelled images as one more source of the student's batches, with the teacher's logits of them.

Shape legend: B batch, N images, C channel, H W space, K classes.
"""

import importlib
from pathlib import Path

import torch
from torch import nn

from pipeline.preprocessing import Preprocessing
from pipeline.settings import Distill
from pipeline.stage import OnNote
from stages.distill import methods
from stages.distill.image_scale import ImageScale
from stages.distill.sampler import NoiseSampler, StudentBatch
from stages.networks.predict import OnImages
from stages.training.device import Compute
from stages.unlabelled_images import UnlabelledImages

_LOADER = "stages.data.unlabelled"
"""By name: images are reached only where the declaration has them."""


def load(
    folder: Path,
    preprocessing: Preprocessing,
    options: Distill,
    on_note: OnNote,
    on_progress: OnImages,
) -> UnlabelledImages:
    """Return the images that the settings name, as the teacher takes them.

    `on_note` gets what is left out, `on_progress` is called with how many files are read.

    Raises:
        StageError: The folder holds no images, files that cannot be read, or too few.
    """
    images: UnlabelledImages = importlib.import_module(_LOADER).load(
        folder,
        preprocessing,
        weight=methods.images_weight(options),
        fewest=methods.images_in_step(options),
        on_note=on_note,
        on_progress=on_progress,
    )
    return images


class UnlabelledSource:
    """Adds a part of unlabelled images to each batch of the student."""

    def __init__(
        self,
        images: UnlabelledImages,
        options: Distill,
        *,
        sampler: NoiseSampler,
        teacher: nn.Module,
        compute: Compute,
        scale: ImageScale,
    ) -> None:
        """Draw images with `sampler`; `teacher` is the one that student steps use."""
        self.images = images
        self.weight = methods.images_weight(options)
        self._stored = images.on(compute.device)
        self._options = options
        self._sampler = sampler
        self._teacher = teacher
        self._compute = compute
        self._scale = scale

    def joined(self, batches: list[StudentBatch]) -> list[StudentBatch]:
        """Return batches, each with as many images at its end as each of its parts has.

        They are drawn with repetition and augmented as the others; the teacher sees them so. With
        a weight of 0 the batches stay as they are.
        """
        return [self._joined(batch) for batch in batches] if self.weight else batches

    @torch.no_grad()
    def _joined(self, batch: StudentBatch) -> StudentBatch:
        count = len(batch.x_BCHW) // len(batch.weights)
        stored, device = self._stored, self._compute.device
        indices_B = self._sampler.indices(len(stored), count)
        if not isinstance(stored, torch.Tensor):
            indices_B = indices_B.cpu()
        x_BCHW = self._scale.seen(stored[indices_B].to(device).float() / 255)
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        how, colour_jitter = self._options.augment, self._options.colour_jitter
        x_BCHW = self._sampler.augmented(x_BCHW, how, colour_jitter)
        with self._compute.autocast():
            teacher_BK = self._teacher(x_BCHW).float().clone()
        return StudentBatch(
            torch.cat([batch.x_BCHW, x_BCHW]),
            torch.cat([batch.teacher_BK, teacher_BK]),
            (*batch.weights, self.weight),
            real_count=count,
        )
