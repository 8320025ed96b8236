"""Progress in the middle of a stage: one file, replaced whole, in the work folder of its key."""

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.atomic import make_folders, naming, removed_on_failure, sync
from pipeline.errors import Interrupted

_MAX_SHARE = 0.02


class Checkpoints:
    """Progress that survives a kill, saved when enough time has gone by or a stop was asked for."""

    def __init__(
        self, folder: Path, *, stage: str, every_s: float, stop_asked: Callable[[], bool]
    ) -> None:
        """Keep checkpoints in `folder`, at most one in `every_s` seconds; 0: whenever asked.

        What takes long to save is saved less often, so that it costs no more than 2 % of the time.
        """
        self._path = folder / "state"
        self._stage = stage
        self._every_s = every_s
        self._stop_asked = stop_asked
        self._last_s = time.monotonic()
        self._pause_s = every_s

    def load(self) -> Path | None:
        """Return the newest checkpoint, or None."""
        return self._path if self._path.is_file() else None

    def keep(self, write: Callable[[Path], None]) -> None:
        """Save through `write(path)` when one is due or a stop was asked for.

        Raises:
            Interrupted: After saving, when a stop was asked for.
            OSError: The disk is full; the checkpoint before this one is still there, is named, and
                nothing of the new one is left.
        """
        stopping = self._stop_asked()
        begin_s = time.monotonic()
        if not stopping and begin_s - self._last_s < self._pause_s:
            return
        part = self._path.with_suffix(".part")
        with naming(self._path):
            make_folders(self._path.parent)
            with removed_on_failure(part):
                write(part)
                sync(part)
                part.replace(self._path)
            sync(self._path.parent)
        self._last_s = time.monotonic()
        if self._every_s:
            save_s = self._last_s - begin_s
            self._pause_s = max(self._every_s, save_s * (1 / _MAX_SHARE - 1))
        if stopping:
            remedy = "the same command goes on from its checkpoint"
            raise Interrupted(f"stage {self._stage}", "interrupted", remedy)
