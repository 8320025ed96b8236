"""Opening an engine after checking that it is the one its manifest describes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipeline.gates.build_records import EngineManifest
from stages.engines.base import Session
from stages.engines.open_engine import open_engine
from stages.validate import machine_load


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An opened engine and what its manifest says of it."""

    manifest: EngineManifest
    session: Session
    path: Path
    resident_bytes: int | None
    """By how much loading it made this process grow."""


def open_here(manifest: EngineManifest, path: Path, *, threads: int) -> Engine:
    """Open an engine whose manifest was read, and note what it takes of memory.

    Raises:
        StageError: It is damaged or for another machine.
        UnavailableError: Its backend or device is not to be had here.
    """
    before = machine_load.resident_bytes()
    session = open_engine(manifest, path, threads=threads)
    after = machine_load.resident_bytes()
    grown = None if before is None or after is None else max(0, after - before)
    return Engine(manifest=manifest, session=session, path=path, resident_bytes=grown)


def sizes(manifest: EngineManifest, path: Path, resident_bytes: int | None) -> dict[str, Any]:
    """Return what is known of the engine's size in files and in memory, and its manifest."""
    return {
        "engine": msgspec.to_builtins(manifest, str_keys=True),
        "engine_bytes": path.stat().st_size,
        "memory": {
            "engine_resident_bytes": resident_bytes,
            "process_peak_bytes": machine_load.peak_bytes(),
        },
    }
