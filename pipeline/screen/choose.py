"""Which screen a run gets: JSON when asked for, a live table on a terminal, else plain lines."""

import os
import sys
from typing import Protocol

from pipeline.events import Event
from pipeline.screen.jsonlines import JsonScreen
from pipeline.screen.plain import PlainScreen


class Screen(Protocol):
    """A sink that must be closed, so that a terminal is left in order."""

    def __call__(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """Finish."""


def choose(*, as_json: bool) -> Screen:
    """Return the screen for this process."""
    if as_json:
        return JsonScreen()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415  (only a terminal pays for rich)

        from pipeline.screen.live import LiveScreen  # noqa: PLC0415

        return LiveScreen(Console())
    return PlainScreen()
