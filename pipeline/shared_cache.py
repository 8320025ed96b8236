"""The cache that machines share, as a run uses it: it saves work and never makes a run fail."""

from collections.abc import Callable
from pathlib import Path

from pipeline.cache.entry import Entry
from pipeline.cache.remotes import Remote, open_remote
from pipeline.cache.store import Store
from pipeline.errors import BadEntry, Interrupted, RemoteError, UnavailableError
from pipeline.settings import Cache

Note = Callable[[str, str], None]
"""Called with a stage and one thing that the user should know of it."""


class SharedCache:
    """What `[cache]` names, for one run."""

    def __init__(
        self, settings: Cache, root: Path, *, note: Note, stop_asked: Callable[[], bool]
    ) -> None:
        """Use what the table says, relative to `root`; nothing is opened yet.

        `stop_asked` returns whether a signal asked to stop, also in the middle of a download.
        """
        self._settings = settings
        self._root = root
        self._note = note
        self._stop_asked = stop_asked
        self._remote: Remote | None = None
        self._has_failed = False
        self._is_read_only = False
        self._asked_keys: set[str] = set()

    def fetch(self, store: Store, stage: str, key: str) -> Entry | None:
        """Bring the entry of a key into the store that this run holds; None where it has none.

        A key is looked up once in a run.

        Raises:
            Interrupted: A stop was asked for.
            StoreError: The store cannot be written.
        """
        if self._settings.pull == "off" or self._has_failed or key in self._asked_keys:
            return None
        self._asked_keys.add(key)
        try:
            remote = self._open()
            entry = remote.fetch(store, stage, key)
        except BadEntry as error:  # may be alone: the rest of the cache is still used
            self._note(stage, f"{error}; the stage is computed here")
            return None
        except (RemoteError, UnavailableError) as error:
            self._has_failed = True
            self._note(stage, f"{error}; the run goes on without the shared cache")
            return None
        if entry is not None:
            self._note(stage, f"taken from the shared cache ({remote.name})")
        return entry

    def push(self, entry: Entry) -> None:
        """Copy what a run computed to the cache, where the settings say so.

        Raises:
            StoreError: The entry cannot be read.
        """
        if not self._settings.push or self._has_failed or self._is_read_only:
            return
        stage = entry.record.stage
        try:
            remote = self._open()
            remote.push_entry(entry)
        except (RemoteError, UnavailableError) as error:
            self._is_read_only = True  # as for a machine that may read there and not write
            self._note(stage, f"{error}; the run copies nothing to the shared cache")
        except Interrupted:  # the run itself stops before its next stage
            self._note(stage, "interrupted while it was copied; madpipe cache push copies it")
        else:
            self._note(stage, f"copied to the shared cache ({remote.name})")

    def _open(self) -> Remote:
        if self._remote is None:
            assert self._settings.remote is not None
            remote = open_remote(self._settings.remote, self._root, self._stop_asked)
            if not self._settings.push:  # a push makes the folder
                remote.check()
            self._remote = remote
        return self._remote
