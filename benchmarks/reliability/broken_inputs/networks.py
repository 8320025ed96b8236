"""The small network whose files are broken, and the commands that read weights."""

import random
from pathlib import Path

import torch
from torch import nn

from benchmarks.reliability.broken_inputs.harness import Broken
from models import registry
from stages.networks import weights

ARCH, CLASSES, SIZE_PX = "resnet8", 10, 8
_SETTINGS = """\
[data]
source = "digits"
[teacher]
arch = "resnet8"
weights = "{name}"
[student]
arch = "resnet8"
"""


def network(*, channels: int = 1, classes: int = CLASSES) -> nn.Module:
    """Return the network, whose weights are always the same."""
    torch.manual_seed(0)
    return registry.create(ARCH, in_channels=channels, num_classes=classes, code=None)


def write_safetensors(path: Path, *, channels: int = 1, classes: int = CLASSES) -> None:
    """Write its weights as a safetensors file without a card."""
    weights.save(path, network(channels=channels, classes=classes), {})


def weights_case(rng: random.Random, folder: Path, name: str, what: str, content: bytes) -> Broken:
    """Write a weights file and return one of the commands that read it."""
    (folder / name).write_bytes(content)
    command = rng.choice(("export", "plan", "plan", "teacher", "teacher"))
    if command == "export":
        options = ["--student", name, "--out", "out.onnx", "--mean", "none"]
        if rng.random() < 0.7:
            options += ["--arch", ARCH, "--image-size", str(SIZE_PX)]
        return Broken(what, ["export", *options], ("out.onnx",))
    (folder / "pipeline.toml").write_text(_SETTINGS.format(name=name), encoding="utf-8")
    return Broken(what, ["plan"] if command == "plan" else ["run", "teacher"])
