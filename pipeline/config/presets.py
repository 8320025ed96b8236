"""Ready-made settings for `madpipe init --preset`; docs/presets.md says why they are so."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.settings import Data, Distill, Gate, Settings, SourceName, Student, Teacher

# Large sets make an unconditional generator jump between solutions (Do et al. 2022); "sum" is
# the kind that they found stable. How long to pretrain it is madpipe's guess.
_CONDITIONAL: dict[str, Any] = {"generator": "sum", "pretrain_steps": 2000}
_GENERATOR: Mapping[str, dict[str, Any]] = {
    "cifar10": {},
    "cifar100": {},
    "tiny-imagenet": {},
    "food101": _CONDITIONAL,
    "places365": _CONDITIONAL,
    "imagenet": _CONDITIONAL,
}

_SCHEDULE_SMALL: dict[str, Any] = {
    "rounds": 8000,
    "student_steps": 10,
    "batch_size": 256,
    "noise_dim": 256,
    "student_learning_rate": 0.1,
    "bank_size": 1024,
}
_SCHEDULE_LARGE: dict[str, Any] = {
    "rounds": 20000,
    "student_steps": 10,
    "batch_size": 64,
    "noise_dim": 256,
    "student_learning_rate": 0.05,
}
_RECIPE_SMALL: dict[str, Any] = {
    "arch": "resnet34",
    "epochs": 100,
    "batch_size": 512,
    "learning_rate": 0.4,
    "augment": "shift-flip",
}
_LARGE_SET_IMAGES = 10_000


def _preset(
    source: SourceName,
    *,
    teacher: dict[str, Any],
    student: str,
    schedule: dict[str, Any],
    gates: dict[str, Gate],
    images: int | None = None,
) -> Settings:
    """Return the settings of one of the well-known sets."""
    return Settings(
        data=Data(source=source, root=f"data/{source}", held_out_limit=images),
        teacher=Teacher(**teacher),
        student=Student(arch=student),
        distill=Distill(**schedule, **_GENERATOR[source]),
        gates={**gates, "engine_top1_drop": Gate(max=0.005), "speedup": Gate(min=1.5)},
    )


PRESETS: Mapping[str, Settings] = MappingProxyType(
    {
        "digits": Settings(),
        "folder": Settings(data=Data(source="folder", root="images", image_size_px=32)),
        "cifar10": _preset(
            "cifar10",
            teacher=_RECIPE_SMALL,
            student="resnet18",
            schedule=_SCHEDULE_SMALL,
            gates={"teacher_top1": Gate(min=0.95), "student_top1_drop": Gate(max=0.02)},
        ),
        "cifar100": _preset(
            "cifar100",
            teacher=_RECIPE_SMALL,
            student="resnet18",
            schedule=_SCHEDULE_SMALL,
            gates={"teacher_top1": Gate(min=0.76), "student_top1_drop": Gate(max=0.03)},
        ),
        "tiny-imagenet": _preset(
            "tiny-imagenet",
            teacher=_RECIPE_SMALL | {"batch_size": 256, "learning_rate": 0.2},
            student="resnet18",
            schedule=_SCHEDULE_SMALL,
            gates={"student_top1_drop": Gate(max=0.06)},
        ),
        "food101": _preset(
            "food101",
            teacher=_RECIPE_SMALL
            | {"arch": "torchvision:resnet34", "batch_size": 128, "learning_rate": 0.1},
            student="torchvision:resnet18",
            schedule=_SCHEDULE_LARGE,
            gates={"student_top1_drop": Gate(max=0.1)},
            images=_LARGE_SET_IMAGES,
        ),
        "places365": _preset(
            "places365",
            teacher={"arch": "torchvision:resnet50", "weights": "resnet50_places365.pth.tar"},
            student="torchvision:resnet18",
            schedule=_SCHEDULE_LARGE,
            gates={"student_top1_drop": Gate(max=0.15)},
            images=_LARGE_SET_IMAGES,
        ),
        "imagenet": _preset(
            "imagenet",
            teacher={"arch": "torchvision:resnet50", "weights": "resnet50.pth"},
            student="torchvision:resnet18",
            schedule=_SCHEDULE_LARGE,
            gates={"student_top1_drop": Gate(max=0.35)},
            images=_LARGE_SET_IMAGES,
        ),
    }
)
