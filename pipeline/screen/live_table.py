"""A live table on a terminal: each stage with its state, progress, rate and last figures."""

import time
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
_BAR_WIDTH = 18
_COLUMNS = ("state", "progress", "rate", "time", "left", "figures")
_WHILE_RUNNING = {"progress", "rate", "left"}
_STATES = {
    "wait": ("", "dim"),
    "running": ("running", "cyan"),
    "hit": ("cached", "green"),
    "ran": ("done", "green"),
    "resumed": ("done, resumed", "green"),
    "failed": ("failed", "red"),
}
_VERDICT_STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "skipped": "dim"}


@dataclass(slots=True)
class _Row:
    """The state of one stage."""

    state: str = "wait"
    begin_s: float = 0.0
    pace: Pace = field(default_factory=Pace)
    progress: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)


class LiveScreen:
    """Redraws one table while a run goes on, and leaves it standing at the end."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self._rows: dict[str, _Row] = {}
        self._notes: list[str] = []
        self._gates: list[dict[str, Any]] = []
        self._live = Live(
            console=console, refresh_per_second=_REFRESH_HZ, get_renderable=self._render
        )

    def __call__(self, event: Event) -> None:
        """Update the table by one event."""
        fields = event.fields
        row = self._rows.setdefault(event.stage, _Row()) if event.stage else _Row()
        match event.kind:
            case "run_started":
                self._rows = {name: _Row() for name in fields["stages"]}
                self._live.start()
            case "note" | "waiting":
                self._notes.append(fields["text"])
            case "estimate":
                self._notes.append(f"the real run takes {formatting.estimate(fields)}")
            case "gate":
                self._gates.append(fields)
            case "stage_started":
                row.state, row.begin_s = "running", event.time_s
            case "progress":
                row.pace.add(event)
                row.progress = fields
                row.figures = formatting.progress_figures(fields)
            case "metric":
                row.figures[fields["name"]] = fields["value"]
            case "stage_done":
                row.state, row.seconds = fields["status"], fields["seconds"]
                row.figures = fields["metrics"]
            case "stage_failed":
                row.state = "failed"
            case _:
                pass

    def close(self) -> None:
        """Leave the table as it is and give the terminal back."""
        self._live.stop()

    def _render(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        is_running = any(row.state == "running" for row in self._rows.values())
        columns = [column for column in _COLUMNS if is_running or column not in _WHILE_RUNNING]
        table.add_column("stage", style="bold")
        for column in columns:
            is_number = column in {"rate", "time", "left"}
            title = "" if column == "state" else column
            table.add_column(title, justify="right" if is_number else "left")
        for name, row in self._rows.items():
            cells = _cells(row)
            table.add_row(name, *(cells.get(column, "") for column in columns))
        notes = [Text(printable(f"  {note}"), style="yellow") for note in self._notes]
        if not self._gates:
            return Group(table, *notes)
        verdicts = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        verdicts.add_column("gate", style="bold")
        verdicts.add_column("verdict")
        verdicts.add_column("because", overflow="fold")
        for gate in self._gates:
            style = _VERDICT_STYLES[gate["verdict"]]
            verdict = formatting.verdict(gate["verdict"], gate.get("severity", "error"))
            verdicts.add_row(
                Text(printable(gate["name"])),
                Text(verdict, style=style),
                Text(printable(gate["reason"])),
            )
        return Group(table, *notes, verdicts)


def _cells(row: _Row) -> dict[str, RenderableType]:
    """Return the cells of a stage by column; columns without a value are absent."""
    label, style = _STATES[row.state]
    cells: dict[str, RenderableType] = {
        "state": Text(label, style=style),
        "figures": Text(
            printable(formatting.metrics(row.figures)), style="dim" if row.state == "hit" else ""
        ),
    }
    if row.state != "running":
        return cells | ({} if row.seconds is None else {"time": formatting.duration(row.seconds)})
    cells["state"] = Spinner("dots", text=Text(label, style=style), style=style)
    cells["time"] = formatting.duration(time.time() - row.begin_s)
    if not row.progress:
        return cells
    done, total = row.progress["done"], row.progress["total"]
    cells["progress"] = ProgressBar(total=total, completed=done, width=_BAR_WIDTH)
    now_s = time.time()
    rate, left_s = row.pace.per_s(now_s), row.pace.left_s(now_s)
    if rate and left_s is not None:
        cells["left"] = formatting.duration(left_s)
        cells["rate"] = Text(
            printable(f"{formatting.number(rate)} {row.pace.unit}/s"), style="cyan"
        )
    return cells
