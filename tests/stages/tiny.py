"""A pipeline small enough to run in seconds, on real digits, and a real context for a stage."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from models.resnet import CifarResNet
from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.checkpoint import Checkpoints
from pipeline.events import Event
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import Context, Stage
from stages.catalog import declare
from stages.networks import card as cards
from stages.networks import weights
from stages.networks.card import Card

Values = Mapping[str, Mapping[str, Any]]

TINY: Values = {
    "teacher": {"arch": "resnet8", "epochs": 3},
    "distill": {
        "rounds": 40,
        "batch_size": 32,
        "generator_width": 16,
        # At the default rate the generator begins with one class for so many of these few
        # rounds that another processor's rounding decides whether the run counts as collapsed.
        "generator_learning_rate": 0.01,
        "bank_size": 32,
        "precision": "fp32",
    },
    # Training int8 is for the tests that are of it.
    "build": {"int8": "rounded"},
    "validate": {"pairs": 20, "warmup_s": 0.01},
}


def settings(values: Values | None = None, *, seed: int = 0) -> Settings:
    """Return the tiny settings, changed by `values`, a table each."""
    changes = values or {}
    tables = {
        name: {**TINY.get(name, {}), **changes.get(name, {})} for name in TINY.keys() | changes
    }
    return msgspec.convert({"seed": seed, **tables}, Settings)


@dataclass(frozen=True, slots=True)
class TinyRun:
    """Stages that have run, their outputs and what they reported."""

    settings: Settings
    stages: tuple[Stage, ...]
    runner: Runner
    events: list[Event]

    def path(self, name: str) -> Path:
        """Return the file of an output, `stage/output`."""
        stage, _, output = name.partition("/")
        return self.runner.entries[stage].output(output)

    def metrics(self, stage: str) -> dict[str, Any]:
        """Return the figures that a stage recorded."""
        return self.runner.entries[stage].record.metrics

    def notes(self) -> list[str]:
        """Return the notes of the stages to the user, but for those of what else runs here."""
        return own_notes((event.kind, event.fields) for event in self.events)


def own_notes(events: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return the texts of notes, but for those of what else this machine does."""
    texts = [fields["text"] for kind, fields in events if kind == "note"]
    return [text for text in texts if not text.startswith("other processes use ")]


def run_stages(chosen: Settings, root: Path, *, count: int = 5) -> TinyRun:
    """Run the first `count` stages for these settings, with the working folder in `root`."""
    store = Store(root / ".madpipe")
    store.prepare()
    events: list[Event] = []
    stages = declare(chosen, root)
    runner = Runner(chosen, store, DigestCache(), [events.append])
    runner.run(stages[:count])
    return TinyRun(chosen, stages, runner, events)


def context(
    stage: Stage, chosen: Settings, inputs: Mapping[str, Path], folder: Path
) -> tuple[Context, list[tuple[str, Mapping[str, Any]]]]:
    """Return the context of a running stage, and the list that gets what it emits."""
    emitted: list[tuple[str, Mapping[str, Any]]] = []
    (folder / "out").mkdir(parents=True, exist_ok=True)
    ctx = Context(
        stage=stage,
        settings=chosen,
        inputs=inputs,
        out=folder / "out",
        checkpoints=Checkpoints(
            folder / "checkpoint", stage=stage.name, every_s=3600.0, stop_asked=lambda: False
        ),
        emit=lambda kind, fields: emitted.append((kind, fields)),
        stop_asked=lambda: False,
    )
    return ctx, emitted


def card(**changes: Any) -> Card:
    """Return the card of a small network on digits, changed by `changes`."""
    plain = Card(
        arch="resnet8",
        channels=1,
        image_size_px=8,
        mean=(0.3053,),
        std=(0.3761,),
        classes=tuple(str(digit) for digit in range(10)),
    )
    return msgspec.structs.replace(plain, **changes)


def resnet8(*, seed: int = 0, channels: int = 1, classes: int = 10) -> CifarResNet:
    """Return an untrained resnet8 of the registry with the weights of a seed."""
    torch.manual_seed(seed)
    return CifarResNet(depth=8, width=16, in_channels=channels, num_classes=classes)


def weights_file(path: Path, **changes: Any) -> Path:
    """Write an untrained resnet8 with its card and return the path."""
    described = card(**changes)
    network = resnet8(channels=described.channels, classes=described.num_classes)
    weights.save(path, network, cards.metadata(described))
    return path
