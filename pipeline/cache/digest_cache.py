"""Digests remembered between runs, so that an unchanged file is not parsed or read again.

A convenience: without it everything is computed anew and nothing is different.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.atomic import write_bytes


class Memo:
    """What was computed for each (kind, content), kept in one JSON file."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what `path` holds; an unreadable or outdated file counts as empty."""
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        self._used: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            try:
                loaded = json.loads(path.read_bytes())
            except ValueError:
                loaded = {}
            self._known = _sound(loaded)

    def get(self, kind: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is known of `key`, computing it the first time."""
        used = self._used.setdefault(kind, {})
        if key not in used:
            known = self._known.get(kind, {}).get(key)
            used[key] = known if known is not None else compute()
        entry: dict[str, Any] = used[key]
        return entry

    def save(self) -> None:
        """Write what this process used, dropping the rest, if it differs from the file.

        Where it used nothing, as a run that only finds what is stored, the file stays as it is.

        Raises:
            OSError: The file cannot be written.
        """
        if self._path is not None and self._used and self._used != self._known:
            write_bytes(self._path, json.dumps(self._used, sort_keys=True).encode())
            self._known = self._used


def _sound(loaded: Any) -> dict[str, dict[str, Any]]:
    """Return of a loaded file what has the form of a memo."""
    kinds = loaded.items() if isinstance(loaded, dict) else ()
    return {
        kind: {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
        for kind, entries in kinds
        if isinstance(entries, dict)
    }
