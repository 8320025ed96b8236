"""Latencies carry what they were measured with, and why a side is missing."""

from pathlib import Path

import pytest

from pipeline.settings import Data, Validate
from stages.data import images
from stages.engines.open_engine import read_manifest
from stages.networks import factory
from stages.validate import latency, reference
from stages.validate.open_engine import open_here
from tests.stages.tiny import TinyRun

OPTIONS = Validate(pairs=20, warmup_s=0.01, batch_sizes=(2,))


def _measured(tiny: TinyRun, folder: Path, options: Validate) -> tuple[dict, dict]:  # type: ignore[type-arg]
    teacher, card = factory.load(tiny.path("teacher/weights"), code=None, place="here")
    return latency.measure(
        teacher,
        card,
        open_here(
            read_manifest(tiny.path("build/manifest"), tiny.path("build/engine")),
            tiny.path("build/engine"),
            threads=1,
        ),
        images.load(Data(), None).held_out,
        options,
        opset=20,
        files=(tiny.path("teacher/weights"), None),
        folder=folder,
    )


def test_latencies_tell_threads_device_and_conditions(tiny: TinyRun, tmp_path: Path) -> None:
    told, raw = _measured(tiny, tmp_path, OPTIONS)
    assert (told["threads"], told["device"], told["processes"]) == (1, "cpu", 1)
    assert told["conditions"]["seconds"] > 0
    assert raw["unit"] == "ms"
    assert set(raw["batches"]["2"]) == {"teacher_ms", "teacher_engine_ms", "engine_ms"}


def test_a_teacher_that_makes_no_engine_leaves_its_side_out_with_the_reason(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise reference.CannotBuild("validate", "no luck (x)", "none needed")

    monkeypatch.setattr(reference, "build", refuse)
    told, _ = _measured(tiny, tmp_path, OPTIONS)
    assert told["teacher_engine_absent"] == "validate: no luck (x); none needed"
    assert "speedup_same_backend" not in told["batches"][0]
