"""Plain lines, for logs and pipes: what starts, what ends, and now and then how far it is."""

import sys
from typing import TextIO

from pipeline.events import Event
from pipeline.screen import formatting

_PROGRESS_EVERY_S = 10.0


class PlainScreen:
    """Writes one line for each event worth a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Start with nothing shown; lines go to `stream`, or to standard output."""
        self._stream = stream
        self._last_s = 0.0

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        line = self._line(event)
        if line is not None:
            stream = self._stream or sys.stdout
            stream.write(line + "\n")
            stream.flush()

    def close(self) -> None:
        """Do nothing: every line is already out."""

    def _line(self, event: Event) -> str | None:
        fields = event.fields
        match event.kind:
            case "stage_started":
                self._last_s = event.time_s
                verb = "resume" if fields["resumed"] else "start"
                return f"{event.stage:<9} {verb:<6} {'; '.join(fields['reason'][:3])}"
            case "progress" if event.time_s - self._last_s >= _PROGRESS_EVERY_S:
                self._last_s = event.time_s
                figures = formatting.metrics(formatting.progress_figures(fields))
                done = f"{fields['done']}/{fields['total']} {fields['unit']}"
                return f"{event.stage:<9} {done}  {figures}".rstrip()
            case "note" | "waiting":
                return f"{event.stage or 'madpipe':<9} note   {fields['text']}"
            case "stage_done":
                time = formatting.duration(fields["seconds"])
                figures = formatting.metrics(fields["metrics"])
                return f"{event.stage:<9} {fields['status']:<6} {time:>8}  {figures}".rstrip()
            case "gate":
                verdict = formatting.verdict(fields)
                return f"gate      {verdict:<12} {fields['name']}: {fields['reason']}"
            case "run_done":
                return f"madpipe   done in {formatting.duration(fields['seconds'])}"
            case _:
                return None
