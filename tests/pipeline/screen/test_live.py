"""The live table shows each stage in its state and leaves the terminal in order."""

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from pipeline.events import Event
from pipeline.screen.live import LiveScreen


class Shown:
    """A live screen on a terminal of 120 columns that is a text."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=120, color_system=None)
        self.screen = LiveScreen(console)

    def tell(self, kind: str, stage: str | None = None, **fields: Any) -> None:
        self.screen(Event(time_s=time.time(), kind=kind, stage=stage, fields=fields))

    def last(self) -> str:
        """Close and return what is left standing."""
        self.screen.close()
        return self.file.getvalue().rpartition("\x1b[2K")[2]


@pytest.fixture
def shown() -> Iterator[Shown]:
    made = Shown()
    yield made
    made.screen.close()


def line(text: str, stage: str) -> str:
    (found,) = [each for each in text.splitlines() if each.strip().startswith(stage)]
    return " ".join(found.split())


def test_every_state_has_its_word(shown: Shown) -> None:
    names = ["teacher", "distill", "export", "build", "validate"]
    shown.tell("run_started", stages=names, command="x")
    done = {"seconds": 61.2, "key": "k", "metrics": {"top1": 0.5}}
    shown.tell("stage_done", "teacher", status="hit", **done)
    shown.tell("stage_done", "distill", status="resumed", **done)
    shown.tell("stage_done", "export", status="ran", **done)
    shown.tell("stage_started", "build", reason=[], resumed=False)
    shown.tell("stage_failed", "build", message="no luck")
    text = shown.last()
    assert line(text, "teacher") == "teacher cached 1 min 01 s top1 0.5"
    assert line(text, "distill") == "distill done, resumed 1 min 01 s top1 0.5"
    assert line(text, "export") == "export done 1 min 01 s top1 0.5"
    assert line(text, "build") == "build failed"
    assert line(text, "validate") == "validate"


def test_running_stage_shows_its_figures(shown: Shown) -> None:
    shown.tell("run_started", stages=["distill"], command="x")
    shown.tell("stage_started", "distill", reason=[], resumed=False)
    shown.tell("progress", "distill", done=0, total=10, unit="rounds", loss=0.5)
    shown.tell("progress", "distill", done=5, total=10, unit="rounds", loss=0.25)
    shown.tell("metric", "distill", name="params", value=77850)
    text = shown.last()
    assert "loss 0.25" in text
    assert "rounds/s" in text


def test_notes_and_verdicts_stand_below_the_table(shown: Shown) -> None:
    shown.tell("run_started", stages=["validate"], command="x")
    shown.tell("note", "validate", text="mind the gap")
    shown.tell("waiting", text="waiting for process 7")
    for verdict in ("pass", "fail", "inconclusive", "skipped"):
        shown.tell("gate", name=f"gate_{verdict}", verdict=verdict, reason="5 in [4.6, 5.4]")
    shown.tell("run_done", exit_code=3, seconds=1.0)
    text = shown.last()
    assert text.index("validate") < text.index("mind the gap") < text.index("gate_pass")
    assert "waiting for process 7" in text
    for verdict in ("pass", "fail", "inconclusive", "skipped"):
        assert line(text, f"gate_{verdict}") == f"gate_{verdict} {verdict} 5 in [4.6, 5.4]"


def test_brackets_in_a_reason_are_shown_and_no_markup(shown: Shown) -> None:
    shown.tell("run_started", stages=[], command="x")
    shown.tell("gate", name="speedup", verdict="pass", reason="because [bold] of it")
    assert line(shown.last(), "speedup") == "speedup pass because [bold] of it"


def test_cursor_is_given_back(shown: Shown) -> None:
    shown.tell("run_started", stages=["distill"], command="x")
    shown.screen.close()
    written = shown.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_screen_that_was_never_started_writes_nothing(shown: Shown) -> None:
    shown.screen.close()
    assert shown.file.getvalue() == ""


def test_stage_that_was_not_announced_gets_a_row(shown: Shown) -> None:
    shown.tell("run_started", stages=[], command="x")
    shown.tell("stage_done", "extra", status="ran", seconds=1.0, key="k", metrics={})
    assert line(shown.last(), "extra") == "extra done 1.0 s"
