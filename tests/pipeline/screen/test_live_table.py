"""The live table shows each stage in its state and leaves the terminal in order."""

import io
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from pipeline.events import Event
from pipeline.screen.live_table import LiveScreen


class Terminal:
    """A live screen on a terminal of 120 columns that is a text."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=120, color_system=None)
        self.screen = LiveScreen(console)

    def emit(self, kind: str, stage: str | None = None, **fields: Any) -> None:
        self.screen(Event(time_s=time.time(), kind=kind, stage=stage, fields=fields))

    def last(self) -> str:
        """Close and return what is left standing."""
        self.screen.close()
        return self.file.getvalue().rpartition("\x1b[2K")[2]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.screen.close()


def line(text: str, stage: str) -> str:
    (row,) = [row for row in text.splitlines() if row.strip().startswith(stage)]
    return " ".join(row.split())


def test_every_state_has_its_word(terminal: Terminal) -> None:
    names = ["teacher", "distill", "export", "build", "validate"]
    terminal.emit("run_started", stages=names, command="x")
    done = {"seconds": 61.2, "key": "k", "metrics": {"top1": 0.5}}
    terminal.emit("stage_done", "teacher", status="hit", **done)
    terminal.emit("stage_done", "distill", status="resumed", **done)
    terminal.emit("stage_done", "export", status="ran", **done)
    terminal.emit("stage_started", "build", reason=[], resumed=False)
    terminal.emit("stage_failed", "build", message="no luck")
    text = terminal.last()
    assert line(text, "teacher") == "teacher cached 1 min 01 s top1 0.5"
    assert line(text, "distill") == "distill done, resumed 1 min 01 s top1 0.5"
    assert line(text, "export") == "export done 1 min 01 s top1 0.5"
    assert line(text, "build") == "build failed"
    assert line(text, "validate") == "validate"


def test_running_stage_shows_its_figures(terminal: Terminal) -> None:
    terminal.emit("run_started", stages=["distill"], command="x")
    terminal.emit("stage_started", "distill", reason=[], resumed=False)
    terminal.emit("progress", "distill", done=0, total=10, unit="rounds", loss=0.5)
    terminal.emit("progress", "distill", done=5, total=10, unit="rounds", loss=0.25)
    terminal.emit("metric", "distill", name="params", value=77850)
    text = terminal.last()
    assert "loss 0.25" in text
    assert "rounds/s" in text


def test_notes_and_verdicts_stand_below_the_table(terminal: Terminal) -> None:
    terminal.emit("run_started", stages=["validate"], command="x")
    terminal.emit("note", "validate", text="mind the gap")
    terminal.emit("waiting", text="waiting for process 7")
    for verdict in ("pass", "fail", "inconclusive", "skipped"):
        terminal.emit("gate", name=f"gate_{verdict}", verdict=verdict, reason="5 in [4.6, 5.4]")
    terminal.emit("run_done", exit_code=3, seconds=1.0)
    text = terminal.last()
    assert text.index("validate") < text.index("mind the gap") < text.index("gate_pass")
    assert "waiting for process 7" in text
    for verdict in ("pass", "fail", "inconclusive", "skipped"):
        assert line(text, f"gate_{verdict}") == f"gate_{verdict} {verdict} 5 in [4.6, 5.4]"


def test_brackets_in_a_reason_are_shown_and_no_markup(terminal: Terminal) -> None:
    terminal.emit("run_started", stages=[], command="x")
    terminal.emit("gate", name="speedup", verdict="pass", reason="because [bold] of it")
    assert line(terminal.last(), "speedup") == "speedup pass because [bold] of it"


def test_cursor_is_given_back(terminal: Terminal) -> None:
    terminal.emit("run_started", stages=["distill"], command="x")
    terminal.screen.close()
    written = terminal.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_screen_that_was_never_started_writes_nothing(terminal: Terminal) -> None:
    terminal.screen.close()
    assert terminal.file.getvalue() == ""


def test_stage_that_was_not_announced_gets_a_row(terminal: Terminal) -> None:
    terminal.emit("run_started", stages=[], command="x")
    terminal.emit("stage_done", "extra", status="ran", seconds=1.0, key="k", metrics={})
    assert line(terminal.last(), "extra") == "extra done 1.0 s"
