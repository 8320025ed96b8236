"""What a killed process leaves in the working folder, and nothing else would ever remove.

A kill between a write and its rename leaves a part, and one between the rename of an entry and the
removal of its work leaves that work, with a checkpoint that nothing goes on from.
"""

import contextlib
import re
import time
from pathlib import Path

from pipeline.cache.store import Store, remove_tree

_PART = re.compile(r".+\.[0-9a-f]+\.part")
"""As `pipeline.atomic` names them."""
_PART_FOLDERS = ("", "runs", "track", "entries/*", "cache/*")
"""Where they may lie; those of unfinished work go with it."""
_WRITTEN_WITHIN_S = 3600.0
"""What is younger may be a process's, of this or another machine, that still writes it."""


def remove(store: Store) -> None:
    """Remove what killed processes left; only whoever holds the lock may call it.

    Raises:
        StoreError: It cannot be removed.
    """
    before_s = time.time() - _WRITTEN_WITHIN_S
    with store.io_errors():
        for folder in _PART_FOLDERS:
            for path in store.home.glob(f"{folder}/*.part" if folder else "*.part"):
                # What is written at this moment, such as by a tracker, is renamed under our hands.
                with contextlib.suppress(FileNotFoundError):
                    if _PART.fullmatch(path.name) and path.lstat().st_mtime < before_s:
                        path.unlink()
        for work in work_of_entries(store):
            remove_tree(work)


def work_of_entries(store: Store) -> list[Path]:
    """Return the folders of work whose entry is stored, so that no run goes on from them."""
    return [
        path
        for path in (store.home / "work").glob("*/*/")
        if store.read(path.parent.name, path.name) is not None
    ]
