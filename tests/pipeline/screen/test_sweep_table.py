"""The live table of a sweep has a row for each combination, and leaves the terminal in order."""

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from pipeline.events import Event
from pipeline.screen.sweep_table import SweepTable


class Terminal:
    """A table of two combinations on a terminal of 120 columns that is a text."""

    def __init__(
        self, first: str = "student.arch=resnet8", second: str = "student.arch=wrn16-1"
    ) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=True, width=120, color_system=None)
        self.screen = SweepTable([first, second], console)

    def emit(self, number: int | None, kind: str, stage: str | None = None, **fields: Any) -> None:
        self.screen(number, Event(time_s=time.time(), kind=kind, stage=stage, fields=fields))

    def rows(self) -> list[str]:
        """Close and return the lines that are left standing."""
        self.screen.close()
        text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self.file.getvalue())
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        begin = max(number for number, line in enumerate(lines) if line.startswith("combination"))
        return lines[begin:]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.screen.close()


def test_two_that_run_at_once_have_a_row_each(terminal: Terminal) -> None:
    terminal.emit(1, "stage_started", "distill", reason=[], resumed=False)
    terminal.emit(1, "progress", "distill", done=0, total=10, unit="rounds")
    time.sleep(0.01)
    terminal.emit(1, "progress", "distill", done=5, total=10, unit="rounds", loss=0.25)
    terminal.emit(2, "waiting", text="waits for its teacher, which is that of [1]")
    terminal.emit(None, "note", text="of all")
    head, _, first, second, *notes = terminal.rows()
    assert head == "combination stage state progress left figures"
    assert first.startswith("1 student.arch=resnet8 distill")
    assert "running" in first
    assert first.endswith("loss 0.25")
    assert second == "2 student.arch=wrn16-1"
    assert notes == ["[2] waits for its teacher, which is that of [1]", "of all"]


def test_what_ends_has_its_state_and_its_figures_or_its_error(terminal: Terminal) -> None:
    terminal.emit(1, "stage_done", "export", status="ran", seconds=1.0, metrics={"bytes": 5})
    terminal.emit(2, "stage_started", "distill", reason=[], resumed=False)
    terminal.emit(2, "combination_done", state="failed", error="distill: collapsed; try less")
    _, _, first, second = terminal.rows()
    assert first == "1 student.arch=resnet8 export bytes 5"
    assert second == "2 student.arch=wrn16-1 distill failed distill: collapsed; try less"
    terminal.emit(1, "combination_done", state="done", figures={"engine_top1": 0.5})


def test_brackets_in_a_value_are_no_markup() -> None:
    terminal = Terminal("teacher.weights=run[/best].pth", "data.root=[bold]")
    _, _, first, second = terminal.rows()
    assert first.startswith("1 teacher.weights=run[/best].pth")
    assert second.startswith("2 data.root=[bold]")
