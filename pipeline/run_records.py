"""What each run did: one small record a run, from which reports are made."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline import stored_files
from pipeline.atomic import write_lasting
from pipeline.cache.store import Store
from pipeline.errors import StoreError
from pipeline.settings import Gate

SCHEMA = 1


class StageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stage in a run."""

    name: str
    status: Literal["hit", "ran", "resumed", "failed"]
    key: str | None
    elapsed_s: float = 0.0
    message: str = ""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    schema: int = SCHEMA
    started_utc: str
    command: str
    elapsed_s: float
    stages: list[StageRecord]
    gates: dict[str, Gate] = {}
    """The gates that it was judged by, so that its report repeats its verdicts."""
    file_gates: dict[str, Any] | None = None
    """The table of pipeline.toml at the time, as it stood there; None in older records."""
    environment: dict[str, str] = {}
    """Where it ran, with which versions and of which git revision; empty in older records."""


def save(store: Store, record: RunRecord) -> None:
    """Write the record of a run.

    Raises:
        StoreError: The working folder cannot be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = store.runs_path / f"{stamp}-{os.getpid()}.json"
    newest = newest_path(store)
    if (
        newest is not None and newest > path
    ):  # the clock was set back, and the last run is still the last
        path = newest.with_name(f"{newest.stem}~{os.getpid()}.json")
    with store.io_errors():
        write_lasting(path, msgspec.json.encode(record))


def newest_path(store: Store) -> Path | None:
    """Return the file of the newest run, None where nothing has run."""
    try:
        with os.scandir(store.runs_path) as files:  # of thousands, each of which is slow as a Path
            newest = max((file.name for file in files if file.name.endswith(".json")), default=None)
    except FileNotFoundError:
        return None
    return store.runs_path / newest if newest is not None else None


def latest(store: Store) -> RunRecord | None:
    """Return the newest run's record, None where nothing has run.

    Raises:
        StoreError: It cannot be read.
    """
    path = newest_path(store)
    return read(path, remedy="remove it, or run again") if path else None


def read(path: Path, *, remedy: str) -> RunRecord:
    """Return the record of a run in a file.

    Raises:
        StoreError: It holds none; the error names the remedy.
    """
    try:
        return stored_files.decode(stored_files.read_bytes(path), RunRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(str(path), f"is no record of a run ({error})", remedy) from error
