"""Screens without a live table, and the choice of a screen.

JSON lines where a program asked for them, a live table on a terminal, else plain lines for logs
and pipes: what starts, what ends, and now and then how far it is.
"""

import os
import sys
import time
from typing import Protocol, TextIO

import msgspec

from pipeline.events import Event
from pipeline.screen import formatting
from pipeline.screen.pace import Pace
from pipeline.texts import json_line, printable, screen_text

_PROGRESS_EVERY_S = 10.0


class Screen(Protocol):
    """A sink that must be closed, so that a terminal is left in order."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Finish."""


def choose_screen(*, as_json: bool) -> Screen:
    """Return the screen for this process, on what is standard output now.

    Stages lead standard output away from what tools print while they work.
    """
    if as_json:
        return JsonScreen(sys.stdout)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415  (only a terminal pays for rich)

        from pipeline.screen.live_table import LiveScreen  # noqa: PLC0415

        return LiveScreen(Console(file=sys.stdout))
    return PlainScreen(sys.stdout)


class PlainScreen:
    """Writes one line for each event worth a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write lines to `stream`, or to standard output."""
        self._stream = stream
        self.last_progress_s = 0.0
        """When a line of progress was written last, by the clock of the events."""
        self._pace = Pace()

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        if event.kind == "stage_started":
            self._pace = Pace()
        elif event.kind == "progress":
            self._pace.add(event)
        line = self._line(event)
        if line is not None:
            print(screen_text(printable(line)), file=self._stream, flush=True)

    def close(self) -> None:
        """Do nothing: every line is already out."""

    def _line(self, event: Event) -> str | None:
        fields = event.fields
        match event.kind:
            case "stage_started":
                self.last_progress_s = event.time_s
                verb = "resume" if fields["resumed"] else "start"
                return f"{event.stage:<9} {verb:<6} {'; '.join(fields['reason'][:3])}"
            case "progress" if event.time_s - self.last_progress_s >= _PROGRESS_EVERY_S:
                self.last_progress_s = event.time_s
                figures = formatting.metrics(formatting.progress_figures(fields))
                done = f"{fields['done']}/{fields['total']} {fields['unit']}"
                left_s = self._pace.left_s(event.time_s)
                left = f", {formatting.duration(left_s)} left" if left_s else ""
                return f"{event.stage:<9} {done}{left}  {figures}".rstrip()
            case "note" | "waiting":
                return f"{event.stage or 'madpipe':<9} note   {fields['text']}"
            case "stage_done":
                time = formatting.duration(fields["seconds"])
                figures = formatting.metrics(fields["metrics"])
                return f"{event.stage:<9} {fields['status']:<6} {time:>8}  {figures}".rstrip()
            case "gate":
                verdict = formatting.verdict(fields["verdict"], fields.get("severity", "error"))
                return f"gate      {verdict:<12} {fields['name']}: {fields['reason']}"
            case "estimate":
                return f"madpipe   the real run takes {formatting.estimate(fields)}"
            case "run_done":
                return f"madpipe   done in {formatting.duration(fields['seconds'])}"
            case _:
                return None


class ProgressLines:
    """Writes now and then to standard error how far a command on files is."""

    def __init__(self, name: str) -> None:
        """Begin every line with the command's name."""
        self._name = name
        self._screen = PlainScreen(sys.stderr)
        self._screen.last_progress_s = time.time()

    def __call__(self, done: int, total: int, unit: str) -> None:
        """Take how many of `total` units are done."""
        fields = {"done": done, "total": total, "unit": unit}
        self._screen(Event(time_s=time.time(), kind="progress", stage=self._name, fields=fields))


class JsonScreen(PlainScreen):
    """Writes every event as one JSON object a line, for programs."""

    def _line(self, event: Event) -> str:
        return json_line(msgspec.json.encode(event.as_dict()).decode())
