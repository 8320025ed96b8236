"""What stages leave for the report beside their main results, read where it is there.

Training curves of distill and the candidates among which build chose. Each is absent without
fuss where a stage does not leave it, and where it cannot be read: a report says what it can.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.cache.store import Entry

_MOST_POINTS = 400

Rows = list[dict[str, Any]]


def candidates(build: Entry | None) -> Rows:
    """Return one record for each precision and backend that build tried."""
    return _rows(build, "candidates")


def curves(distill: Entry | None) -> Rows:
    """Return one record for each monitored round, thinned to what a plot can show."""
    rows = _rows(distill, "curves")
    if len(rows) <= _MOST_POINTS:
        return rows
    last = len(rows) - 1
    return [rows[round(number * last / (_MOST_POINTS - 1))] for number in range(_MOST_POINTS)]


def _rows(entry: Entry | None, output: str) -> Rows:
    if entry is None or output not in entry.record.outputs:
        return []
    try:
        return parse(Path(entry.output(output)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def parse(text: str) -> Rows:
    """Return the records of a JSON array, of an object that holds one, or of JSON lines.

    Raises:
        ValueError: The text is none of them.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = next((each for each in found.values() if isinstance(each, list)), [found])
    return [each for each in found if isinstance(each, dict)]
