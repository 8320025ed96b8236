"""Screens of a sweep without a live table, and the choice of one.

Like those of a run, but every event is of one combination, or of the whole sweep. They may be
called by several threads at once.
"""

import os
import sys
import threading
from collections.abc import Sequence
from typing import Protocol, TextIO

import msgspec

from pipeline.events import Event
from pipeline.screen.plain import PlainScreen
from pipeline.texts import json_line


class SweepScreen(Protocol):
    """Takes events of combinations by number, from 1 on; None: of the sweep as a whole."""

    def __call__(self, number: int | None, event: Event, /) -> None:
        """Show one event."""

    def close(self) -> None:
        """Finish."""


def choose_sweep_screen(labels: Sequence[str], *, as_json: bool) -> SweepScreen:
    """Return the screen for a sweep of combinations that are called `labels`."""
    if as_json:
        return JsonSweepScreen(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415  (only a terminal pays for rich)

        from pipeline.screen.sweep_table import SweepTable  # noqa: PLC0415

        return SweepTable(labels, Console(file=sys.stdout))
    return PlainSweepScreen(labels, sys.stdout)


class _Numbered(PlainScreen):
    """Plain lines that begin with the number of a combination."""

    def __init__(self, head: str, stream: TextIO) -> None:
        super().__init__(stream)
        self._head = head

    def _line(self, event: Event) -> str | None:
        if event.kind == "combination_started":
            return f"{self._head} {' '.join(event.fields['changes'])}"
        if event.kind == "combination_done":
            error = event.fields.get("error")
            return f"{self._head} failed: {error}" if error else None
        line = super()._line(event)
        return None if line is None else f"{self._head} {line}"


class PlainSweepScreen:
    """Writes a line for each event worth one, with the number of its combination."""

    def __init__(self, labels: Sequence[str], stream: TextIO) -> None:
        """Write to `stream` what happens to combinations that are called `labels`."""
        self._whole = PlainScreen(stream)
        self._screens = [
            _Numbered(f"[{number}/{len(labels)}]", stream) for number in range(1, len(labels) + 1)
        ]
        self._lock = threading.Lock()

    def __call__(self, number: int | None, event: Event) -> None:
        """Write the event's line, if it has one."""
        with self._lock:
            (self._whole if number is None else self._screens[number - 1])(event)

    def close(self) -> None:
        """Do nothing: every line is already out."""


class JsonSweepScreen:
    """Writes every event as one JSON object a line, with its combination's number."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, number: int | None, event: Event) -> None:
        """Write the event's line."""
        record = event.as_dict()
        if number is not None:
            head = {name: record.pop(name) for name in ("time_s", "kind")}
            record = head | {"combination": number} | record
        with self._lock:
            line = json_line(msgspec.json.encode(record).decode())
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing: every line is already out."""
