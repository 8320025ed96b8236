"""Writing results of commands to standard output, for people or for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def line(text: str = "") -> None:
    """Write one line."""
    sys.stdout.write(text + "\n")


def as_json(value: Any) -> None:
    """Write one value as readable JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        line("  ".join([*cells, row[-1]]).rstrip())


def record(values: Mapping[str, Any]) -> None:
    """Write names and values in two columns."""
    columns([(name, str(value)) for name, value in values.items()])
