"""Digests remembered between runs, so that an unchanged file is not parsed or read again.

A convenience: without it everything is computed anew and nothing is different.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pipeline.atomic import write_bytes

_Digests = dict[str, dict[str, dict[str, Any]]]


class DigestCache:
    """What was computed for each (kind, key), kept in one JSON file.

    Kinds are `code` (of one source file) and `folder` (of one listing of an outside folder).
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read what `path` holds; an unreadable or outdated file counts as empty."""
        self._path = path
        self._stored: _Digests = {}
        self._used: _Digests = {}
        if path is not None and path.is_file():
            with contextlib.suppress(msgspec.DecodeError):
                self._stored = msgspec.json.decode(path.read_bytes(), type=_Digests)

    def get(self, kind: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is stored of `key`, computing it the first time."""
        used = self._used.setdefault(kind, {})
        if key not in used:
            stored = self._stored.get(kind, {}).get(key)
            used[key] = stored if stored is not None else compute()
        return used[key]

    def save(self) -> None:
        """Write what this process used, dropping the rest, if it differs from the file.

        Where it used nothing, as a run that only finds what is stored, the file stays as it is.

        Raises:
            OSError: The file cannot be written.
        """
        if self._path is not None and self._used and self._used != self._stored:
            write_bytes(self._path, json.dumps(self._used, sort_keys=True).encode())
            self._stored = self._used
