"""A live table of a sweep on a terminal: a row for each combination, whoever runs it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.events import Event
from pipeline.screen import formatting
from pipeline.screen.pace import Pace
from pipeline.texts import printable

_REFRESH_HZ = 8
_BAR_WIDTH = 14
_STATES = {"wait": "dim", "running": "cyan", "done": "green", "failed": "red", "unfinished": "dim"}


@dataclass(slots=True)
class _Row:
    """The state of one combination."""

    label: str
    state: str = "wait"
    stage: str = ""
    pace: Pace = field(default_factory=Pace)
    progress: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    """Last figures, or why it failed."""


class SweepTable:
    """Redraws one table while a sweep goes on, and leaves it standing at the end."""

    def __init__(self, labels: Sequence[str], console: Console) -> None:
        """Draw rows that are called `labels` on `console`."""
        self._rows = [_Row(label) for label in labels]
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self._live = Live(
            console=console, refresh_per_second=_REFRESH_HZ, get_renderable=self._render
        )
        self._live.start()

    def __call__(self, number: int | None, event: Event) -> None:
        """Update the table by one event."""
        with self._lock:
            if event.kind in {"note", "waiting"}:
                head = "" if number is None else f"[{number}] "
                self._notes.append(f"{head}{event.fields['text']}")
            elif number is not None:
                _update(self._rows[number - 1], event)

    def close(self) -> None:
        """Leave the table as it is and give the terminal back."""
        self._live.stop()

    def _render(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("", justify="right", style="dim")
        table.add_column("combination", style="bold", overflow="fold")
        for title in ("stage", "state", "progress"):
            table.add_column(title)
        table.add_column("left", justify="right")
        table.add_column("figures", overflow="fold")
        with self._lock:
            for number, row in enumerate(self._rows, start=1):
                table.add_row(str(number), Text(printable(row.label)), row.stage, *_cells(row))
            notes = [
                Text(printable(f"  {note}"), style="yellow") for note in dict.fromkeys(self._notes)
            ]
        return Group(table, *notes)


def _update(row: _Row, event: Event) -> None:
    fields = event.fields
    match event.kind:
        case "stage_started":
            row.state, row.stage = "running", event.stage or ""
            row.pace, row.progress, row.text = Pace(), {}, ""
        case "progress":
            row.pace.add(event)
            row.progress = fields
            row.text = formatting.metrics(formatting.progress_figures(fields))
        case "stage_done":
            row.state, row.stage, row.progress = "wait", event.stage or "", {}
            row.text = formatting.metrics(fields["metrics"])
        case "combination_done":
            row.state, row.progress = fields["state"], {}
            row.text = fields.get("error") or formatting.metrics(fields.get("figures", {}))
        case _:
            pass


def _cells(row: _Row) -> tuple[RenderableType, ...]:
    """Return state, progress, time left and figures."""
    style = _STATES[row.state]
    figures = Text(
        printable(row.text), style=style if row.state in {"failed", "unfinished"} else ""
    )
    if row.state != "running":
        return Text("" if row.state == "wait" else row.state, style=style), "", "", figures
    state = Spinner("dots", text=Text(row.state, style=style), style=style)
    if not row.progress:
        return state, "", "", figures
    total, done = row.progress["total"], row.progress["done"]
    left_s = row.pace.left_s(time.time())
    left = "" if left_s is None else formatting.duration(left_s)
    return state, ProgressBar(total=total, completed=done, width=_BAR_WIDTH), left, figures
