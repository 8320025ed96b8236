"""A project whose fake stages report curves and pictures, followed by real trackers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.events import Event
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline

STAGES = """
import shutil, struct

def png(path):
    path.write_bytes(PNG)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)

def distill(ctx):
    for step in range(1, 4):
        ctx.point(step, "rounds", {"student_loss": 1 / step})
    ctx.picture("live_samples", 3, png)
    ctx.note("a | note")
    ctx.output("picture").write_bytes(PNG)
    ctx.output("student").write_text(str(ctx.settings.seed))
    ctx.metric("params", 77850)
    ctx.metric("precision", "fp32")

def validate(ctx):
    shutil.copyfile(ctx.external("measured"), ctx.output("measurements"))
    ctx.metric("student_top1", 0.98)
"""

Follow = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def follow(project: Callable[..., Project], code: Callable[..., None]) -> Follow:
    """Run all of a project, followed by the named trackers; returns exit code and notes."""

    def call(*trackers: str, more: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        named = ", ".join(f'"{name}"' for name in trackers)
        opened = project(f"track.to=[{named}]", *more)
        code(STAGES)
        events: list[Event] = []
        exit_code = run_pipeline(
            opened, ["all"], force=(), sinks=[events.append], command="run all", inconclusive=4
        )
        assert events[-1].kind == "run_done"
        return exit_code, [event.fields["text"] for event in events if event.kind == "note"]

    return call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The working folder of the project."""
    return tmp_path / ".madpipe"
