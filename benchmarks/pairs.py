"""Pairs of networks with random weights, and what benchmarks train them with."""

from dataclasses import dataclass

import torch

from benchmarks.plain_loop import PlainLoop
from models import registry
from models.classifier import Classifier
from models.generator import Generator
from pipeline.settings import Distill
from stages.distill.trainer import DistillTrainer
from stages.training import device as devices

_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """Two architectures by their names in the registry, and the images that they take."""

    teacher: str
    student: str
    channels: int = 3
    image_size_px: int = 32

    def networks(self, options: Distill) -> tuple[Classifier, Classifier, Generator]:
        """Return teacher, student and generator with random weights."""
        torch.manual_seed(0)
        teacher, student = (
            Classifier(
                registry.create(arch, in_channels=self.channels, num_classes=_CLASSES, code=None),
                (0.5,) * self.channels,
                (0.25,) * self.channels,
            )
            for arch in (self.teacher, self.student)
        )
        generator = Generator(
            noise_dim=options.noise_dim,
            image_size_px=self.image_size_px,
            channels=self.channels,
            width=options.generator_width,
        )
        return teacher, student, generator

    def trainer(self, options: Distill) -> DistillTrainer:
        """Return the trainer that the stage runs."""
        compute = devices.select("auto")
        teacher, student, generator = self.networks(options)
        return DistillTrainer(
            teacher=teacher.to(memory_format=torch.channels_last),
            student=student.to(memory_format=torch.channels_last),
            generator=generator,
            options=options,
            compute=compute,
            rng=devices.seeded(0, "distill", compute.device),
        )

    def plain(self, options: Distill) -> PlainLoop:
        """Return the plain loop on the same device."""
        return PlainLoop(*self.networks(options), options, device=devices.select("auto").device)


PAIRS = {
    "digits": Pair("resnet14", "resnet8", channels=1, image_size_px=8),
    "cifar": Pair("resnet20", "resnet8"),
}
