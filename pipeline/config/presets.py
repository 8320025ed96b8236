"""Ready-made settings for `madpipe init --preset`; docs/presets.md says why they are so."""

from collections.abc import Mapping
from typing import Any

from pipeline.settings import Data, Distill, Gate, Settings, SourceName, Student, Teacher

_PHOTOGRAPHS = Distill(
    student_steps=20,
    student_batch_size=64,
    generator_learning_rate=2e-3,
    noise_dim=256,
    augment="shift-flip",
    colour_jitter=0.4,
)
"""What was measured on CIFAR-10 on a CPU: benchmarks/2026-11-27-fixed-time.md."""
_ENGINE_GATES = {"engine_top1_drop": Gate(max=0.005), "speedup": Gate(min=1.5)}


def _small_images(
    source: SourceName, *, gates: Mapping[str, Gate], **recipe: float | str
) -> Settings:
    """Return the settings of a set of images of 32 or 64 pixels, whose teacher is trained."""
    teacher: dict[str, Any] = {
        "arch": "resnet34",
        "epochs": 100,
        "batch_size": 512,
        "learning_rate": 0.4,
        "augment": "shift-flip",
    }
    return Settings(
        data=Data(source=source, root=f"data/{source}"),
        teacher=Teacher(**teacher | recipe),
        student=Student(arch="resnet18"),
        distill=Distill(
            method="mad",
            rounds=8000,
            student_steps=10,
            batch_size=256,
            generator_width=128,
            noise_dim=256,
            student_learning_rate=0.1,
            bank_size=1024,
        ),
        gates={**gates, **_ENGINE_GATES},
    )


def _large_images(source: SourceName, *, most_drop: float, teacher: Teacher) -> Settings:
    """Return the settings of a set of images of 224 pixels.

    Such sets make an unconditional generator jump between solutions (Do et al. 2022); "sum" is
    the kind that they report as stable. How long to pretrain it is madpipe's guess.
    """
    return Settings(
        data=Data(source=source, root=f"data/{source}", held_out_limit=10_000),
        teacher=teacher,
        student=Student(arch="torchvision:resnet18"),
        distill=Distill(
            method="mad",
            rounds=20000,
            student_steps=10,
            batch_size=64,
            generator_width=128,
            noise_dim=256,
            student_learning_rate=0.05,
            generator="sum",
            pretrain_steps=2000,
        ),
        gates={"student_top1_drop": Gate(max=most_drop), **_ENGINE_GATES},
    )


PRESETS: Mapping[str, Settings] = {
    "digits": Settings(),
    "folder": Settings(
        data=Data(source="folder", root="images", image_size_px=32),
        teacher=Teacher(epochs=40),
        distill=_PHOTOGRAPHS,
    ),
    "cifar10": _small_images(
        "cifar10", gates={"teacher_top1": Gate(min=0.95), "student_top1_drop": Gate(max=0.02)}
    ),
    "cifar100": _small_images(
        "cifar100", gates={"teacher_top1": Gate(min=0.76), "student_top1_drop": Gate(max=0.03)}
    ),
    "tiny-imagenet": _small_images(
        "tiny-imagenet",
        gates={"student_top1_drop": Gate(max=0.06)},
        batch_size=256,
        learning_rate=0.2,
    ),
    "food101": _large_images(
        "food101",
        most_drop=0.1,
        teacher=Teacher(
            arch="torchvision:resnet34",
            epochs=100,
            batch_size=128,
            learning_rate=0.1,
            augment="shift-flip",
        ),
    ),
    "places365": _large_images(
        "places365",
        most_drop=0.15,
        teacher=Teacher(arch="torchvision:resnet50", weights="resnet50_places365.pth.tar"),
    ),
    "imagenet": _large_images(
        "imagenet",
        most_drop=0.35,
        teacher=Teacher(arch="torchvision:resnet50", weights="resnet50.pth"),
    ),
}
