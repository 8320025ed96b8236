"""The estimate of a training step's memory against the peak that a process then had.

    python benchmarks/training_memory.py

A process for each row takes the estimate, then runs two steps (`distill`: two rounds of one student
step) on the CPU, with one thread, in fp32.

Shape legend: B batch, C channel, H W space.
"""

import subprocess
import sys

import torch

from models.classifier import Classifier
from models.generator import Generator
from pipeline import machine
from pipeline.settings import Distill
from stages.distill import step_memory
from stages.distill.trainer import DistillTrainer
from stages.networks import factory
from stages.networks.card import Card
from stages.training import device as devices
from stages.training import memory
from stages.training.memory import StepMemory

CASES = (
    ("resnet14", "", 1, 8, 256, 1),
    ("resnet20", "", 3, 32, 128, 1),
    ("resnet20", "", 3, 32, 256, 1),
    ("torchvision:resnet18", "", 3, 64, 32, 1),
    ("mobilenetv2", "", 3, 32, 64, 1),
    ("resnet14", "resnet8", 1, 8, 128, 1),
    ("resnet20", "resnet8", 3, 32, 128, 1),
    ("resnet20", "resnet8", 3, 32, 128, 4),
    ("torchvision:resnet50", "", 3, 224, 64, 1),
    ("torchvision:resnet18", "torchvision:resnet18", 3, 224, 48, 1),
)
"""Teacher, student (none: the teacher is trained), channels, pixels, batch, accumulation steps."""


def network(arch: str, channels: int, size: int) -> Classifier:
    """Return a network of ten classes at its start."""
    card = Card(
        arch=arch, channels=channels, image_size_px=size, mean=(0.5,) * channels,
        std=(0.5,) * channels, classes=tuple("0123456789"),
    )  # fmt: skip
    return factory.build(card, code=None, place="arch", on_note=print)


def train(arch: str, channels: int, size: int, batch: int) -> StepMemory | None:
    """Estimate and take two steps of a teacher."""
    trained = network(arch, channels, size)
    estimate = memory.of_network(trained, channels=channels, image_size_px=size)
    optimiser = torch.optim.SGD(trained.parameters(), 0.1, momentum=0.9, fused=True)
    for _ in range(2):
        x_BCHW = torch.rand(batch, channels, size, size)
        optimiser.zero_grad()
        trained(x_BCHW.contiguous(memory_format=torch.channels_last)).sum().backward()
        optimiser.step()
    return estimate


def distil(case: tuple[str, str, int, int, int, int]) -> StepMemory | None:
    """Estimate and take two rounds of a distillation."""
    arch, student, channels, size, batch, parts = case
    options = Distill(
        rounds=100, batch_size=batch, student_steps=1, accumulation_steps=parts, precision="fp32"
    )
    compute = devices.select("fp32")
    generator = Generator(
        noise_dim=options.noise_dim, image_size_px=size, channels=channels,
        width=options.generator_width, kind="uncond", num_classes=0,
    )  # fmt: skip
    trainer = DistillTrainer(
        teacher=network(arch, channels, size), student=network(student, channels, size),
        generator=generator, options=options, compute=compute,
        rng=devices.seeded(0, "distill", compute.device),
    )  # fmt: skip
    estimate = step_memory.of_trainer(trainer)
    trainer.train_round()
    trainer.train_round()
    return estimate


def main() -> None:
    """Print a row for each case, or measure the one that is named by its number."""
    if len(sys.argv) == 1:
        for number in range(len(CASES)):
            subprocess.run([sys.executable, __file__, str(number)], check=True)
        return
    arch, student, channels, size, batch, parts = CASES[int(sys.argv[1])]
    torch.set_num_threads(1)
    estimate = distil(CASES[int(sys.argv[1])]) if student else train(arch, channels, size, batch)
    peak_bytes = machine.peak_memory_bytes()
    assert estimate is not None
    assert peak_bytes is not None
    total_bytes = estimate.total(batch // parts)
    print(
        f"{arch:20s} {student:8s} {size:3d} px, batch {batch} in {parts}: estimate "
        f"{total_bytes / 2**20:5.0f} MiB, {estimate.fixed_bytes / 2**20:4.0f} of it fixed, "
        f"measured {peak_bytes / 2**20:5.0f}, ratio {total_bytes / peak_bytes:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
