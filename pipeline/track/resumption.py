"""Which runs in trackers a stopped run was, so that the same command goes on with them.

A file for each command and settings in the working folder's `track`, which lives as long as the
run does not end: one that is killed or interrupted leaves it, and the next of its kind reads it.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline import stored_files
from pipeline.atomic import write_bytes
from pipeline.file_lock import try_lock

_NAME_DIGITS = 16


class TrackerRun(msgspec.Struct, kw_only=True):
    """A run in one tracker."""

    run_id: str
    steps: dict[str, int] = {}
    """The last step of each group of figures, where the tracker itself cannot tell."""


class Progress(msgspec.Struct, kw_only=True):
    """A run that has not ended."""

    name: str
    notes: list[str] = []
    trackers: dict[str, TrackerRun] = {}


class Resumption:
    """The file of one run; what is remembered is written at once."""

    def __init__(self, path: Path, name: str) -> None:
        """Go on with what the file holds, or begin a run of the name."""
        self.path = path
        self._lock = threading.Lock()
        self._is_over = False
        try:
            self._progress = stored_files.decode(stored_files.read_bytes(path), Progress)
        except (OSError, msgspec.DecodeError):
            self._progress = Progress(name=name)  # none, or no more of use: another run begins

    @property
    def name(self) -> str:
        """The run's name, given when it began."""
        return self._progress.name

    @property
    def notes(self) -> list[str]:
        """The notes of the run so far."""
        return list(self._progress.notes)

    def run_id(self, tracker: str) -> str | None:
        """Return what a tracker calls the run, None where it has none yet."""
        run = self._progress.trackers.get(tracker)
        return run.run_id if run else None

    def steps(self, tracker: str) -> Mapping[str, int]:
        """Return the last steps that a tracker got."""
        run = self._progress.trackers.get(tracker)
        return run.steps if run else {}

    def remember_run(self, tracker: str, run_id: str) -> None:
        """Remember what a tracker calls the run."""
        if self.run_id(tracker) != run_id:
            with self._changed() as progress:
                progress.trackers[tracker] = TrackerRun(run_id=run_id)

    def remember_step(self, tracker: str, group: str, step: int) -> None:
        """Remember that a tracker got a step of a group; it has a run."""
        with self._changed() as progress:
            progress.trackers[tracker].steps[group] = step

    def remember_note(self, text: str) -> None:
        """Remember a note of the run, once."""
        if text not in self._progress.notes:
            with self._changed() as progress:
                progress.notes.append(text)

    def forget(self) -> None:
        """Remove the file: the run is over, and nothing of it is remembered any more."""
        with self._lock:
            self._is_over = True
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[Progress]:
        with self._lock:
            yield self._progress
            if not self._is_over:
                write_bytes(self.path, msgspec.json.encode(self._progress))


@contextlib.contextmanager
def resumption(folder: Path, identity: Mapping[str, Any], name: str) -> Iterator[Resumption]:
    """Hold the file of the run that `identity` describes; `name` is for one that begins.

    A second process with the same identity gets a file, and so a run, of its own.

    Raises:
        OSError: The folder cannot be written, or its file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()
    path = folder / f"{digest[:_NAME_DIGITS]}.json"
    release = try_lock(path.with_suffix(".lock"))
    if release is None:
        yield Resumption(path.with_name(f"{path.stem}-{os.getpid()}.json"), name)
        return
    held = Resumption(path, name)
    try:
        yield held
    finally:
        if not path.exists():  # the run is over, and no other of its kind has to know
            path.with_suffix(".lock").unlink(missing_ok=True)
        release()
