"""Reading what a validate stage stored: its measurements, or the raw samples behind them."""

import json
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.gates.measures import SCHEMA


def read_measured(path: Path, what: str, *, remedy: str) -> dict[str, Any]:
    """Return a stored document of this version.

    Args:
        path: The file.
        what: Its content in a word, for messages.
        remedy: What to do where it cannot be read.

    Raises:
        StoreError: It is not there, damaged, or of another schema.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        schema = found.get("schema")
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(str(path), f"holds no {what} ({error})", remedy) from error
    if schema != SCHEMA:
        raise StoreError(
            str(path),
            f"was measured by another version of madpipe ({schema}, this one reads {SCHEMA})",
            "measure again: madpipe run validate",
        )
    return found
