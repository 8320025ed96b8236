"""Draw the screen of a run as an SVG, from the events that it wrote.

    madpipe run all --json | uv run python scripts/run_picture.py docs/run.svg

Animated icons are in the SVG what they were at the end.
"""

import argparse
import io
import json
import sys
from pathlib import Path

from rich.console import Console

from pipeline.events import Event
from pipeline.screen.live_table import LiveScreen

COLUMNS = 112
NAMES = ("time_s", "kind", "stage")


def main() -> None:
    """Replay the events from standard input through the live table and export it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()
    screen = LiveScreen(Console(file=io.StringIO()))
    for line in sys.stdin:
        record = json.loads(line)
        fields = {name: value for name, value in record.items() if name not in NAMES}
        screen(
            Event(
                time_s=record["time_s"],
                kind=record["kind"],
                stage=record.get("stage"),
                fields=fields,
            )
        )
    screen.close()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print("[bold]$[/] madpipe run all")
    console.print(screen._render())
    svg = console.export_svg(title="madpipe")
    options.svg.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
