"""Opening an engine after checking that it is the one its manifest describes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipeline.keys import file_sha256
from pipeline.stage import StageError
from stages.engines import resolve
from stages.engines.base import BACKENDS, EngineManifest, Session
from stages.measuring import conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An opened engine and what its manifest says of it."""

    manifest: EngineManifest
    session: Session
    path: Path
    resident_bytes: int | None
    """By how much loading it made this process grow."""


def load_engine(manifest_path: Path, path: Path, *, threads: int) -> Engine:
    """Open an engine as `open_engine` does, and note what it takes of memory."""
    before = conditions.resident_bytes()
    manifest, session = open_engine(manifest_path, path, threads=threads)
    after = conditions.resident_bytes()
    grown = None if before is None or after is None else max(0, after - before)
    return Engine(manifest=manifest, session=session, path=path, resident_bytes=grown)


def sizes(engine: Engine) -> dict[str, Any]:
    """Return what is known of the engine's size in files and in memory, and its manifest."""
    return {
        "engine": msgspec.to_builtins(engine.manifest),
        "engine_bytes": engine.path.stat().st_size,
        "memory": {
            "engine_resident_bytes": engine.resident_bytes,
            "process_peak_bytes": conditions.peak_bytes(),
        },
    }


def open_engine(
    manifest_path: Path, engine: Path, *, threads: int
) -> tuple[EngineManifest, Session]:
    """Load an engine after checking that it is the one its manifest describes.

    Raises:
        StageError: The manifest is none, or the engine has other bytes.
        UnavailableError: Its backend or device is not to be had here.
    """
    try:
        manifest = msgspec.json.decode(manifest_path.read_bytes(), type=EngineManifest)
        digest = file_sha256(engine)
    except (OSError, msgspec.DecodeError) as error:
        raise StageError("the engine", f"cannot be read ({error})", "build it again") from error
    if digest != manifest.sha256:
        raise StageError(
            "the engine",
            f"is not the one that its manifest describes ({engine}: {digest[:8]}, "
            f"not {manifest.sha256[:8]})",
            "build it again",
        )
    if manifest.backend not in BACKENDS:
        raise StageError(
            "the engine", f"is of no known backend ({manifest.backend})", "build it again"
        )
    backend = resolve.backend(manifest.backend)
    return manifest, backend.open(engine, device=manifest.device, threads=threads)
