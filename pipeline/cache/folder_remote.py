"""A shared cache in a folder: a store that several machines reach."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.cache.arrivals import record_fault
from pipeline.cache.entry import Entry
from pipeline.cache.lock import write_lock
from pipeline.cache.store import GITIGNORE, Store
from pipeline.cache.sync import copy_entries, copy_entry
from pipeline.errors import BadEntry, RemoteError, StoreError

_WAIT_S = 60.0
_BEGUN = re.compile(r"(\.gitignore|layout\.json)\.[0-9a-f]{12}\.part")
_URL_LAYOUT = "v1"


class FolderRemote:
    """A shared cache in a folder."""

    def __init__(self, path: Path, name: str) -> None:
        """Name the folder, also as the user did; nothing is read yet."""
        self.name = name
        self._store = Store(path)

    def check(self) -> None:
        """Make sure that the folder is there and that its layout is known.

        Raises:
            RemoteError: It is not.
        """
        home = self._store.home
        if not home.is_dir():
            raise RemoteError(self.name, "no such folder", "name the folder that was pushed to")
        if (home / _URL_LAYOUT).is_dir() and not (home / "layout.json").exists():
            wrong = f"was pushed to by URL, which leaves other files ({_URL_LAYOUT})"
            raise RemoteError(self.name, wrong, f"name it as file://{home.absolute().as_posix()}")
        with self._faults():
            self._store.check_layout()

    def fetch(self, store: Store, stage: str, key: str) -> Entry | None:
        """Bring the entry of a key into a store that this process holds; None where there is none.

        Raises:
            BadEntry: It is damaged.
            RemoteError: The folder cannot be read.
            StoreError: The store cannot be written.
        """
        with self._faults():
            self._store.check_layout()
            entry, damage = self._store.find(stage, key)
            if entry is not None:
                damage = record_fault(entry.record)
            if damage is not None:
                path = self._store.entry_path(stage, key)
                raise BadEntry(str(path), f"is damaged ({damage})", "push it anew, or remove it")
            return copy_entry(entry, store) if entry else None

    def pull(self, store: Store) -> int:
        """Bring every sound entry that a store lacks; return how many.

        Raises:
            StoreError: A folder cannot be read or written, or is held by another process.
        """
        self.check()
        return copy_entries(self._store, store)

    def push(self, store: Store, *, overwrite: bool = False) -> int:
        """Write every sound entry that the folder lacks or has damaged; return how many.

        With `overwrite` also those that it has.

        Raises:
            StoreError: A folder cannot be read or written, or is held by another process.
        """
        self._check_is_ours()
        return copy_entries(store, self._store, overwrite=overwrite)

    def push_entry(self, entry: Entry) -> None:
        """Write one entry, also where there is one of its key; wait a minute for other processes.

        Raises:
            RemoteError: The folder cannot be written, or is held for longer.
        """
        self._check_is_ours()
        with self._faults(), write_lock(self._store, command="cache push", wait_s=_WAIT_S):
            copy_entry(entry, self._store)

    def _check_is_ours(self) -> None:
        """Raise RemoteError where a folder with other files would become a cache."""
        home = self._store.home
        if home.exists() and not home.is_dir():
            raise RemoteError(self.name, "is a file", "name a folder or a URL")
        with self._faults(), self._store.io_errors():
            is_new = home.is_dir() and not (home / "layout.json").exists()
            other = next((p for p in home.iterdir() if not _is_begun(p)), None) if is_new else None
        if other:
            wrong = f"is a folder with other files, and no cache ({other.name})"
            raise RemoteError(self.name, wrong, "name a new folder, or one that was pushed to")

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise what is wrong with the folder as an error of a shared cache."""
        try:
            yield
        except StoreError as error:
            is_here = Path(error.place).is_relative_to(self._store.home)
            if isinstance(error, RemoteError) or not is_here:
                raise
            raise RemoteError(error.place, error.wrong, error.remedy) from error


def _is_begun(path: Path) -> bool:
    """Return whether a push that failed at its start, before there was a layout, leaves this."""
    if path.is_symlink():
        return False
    if path.is_dir():
        return path.name == "runs" and not any(path.iterdir())
    is_gitignore = path.name == ".gitignore" and path.stat().st_size == len(GITIGNORE)
    return _BEGUN.fullmatch(path.name) is not None or (
        is_gitignore and path.read_bytes() == GITIGNORE
    )
