"""Working folders of jobs that run side by side: entries go in and out by hard links.

A run holds its working folder's lock from start to end, so each job has a folder of its own in
the sweep's: `<home>/sweep/<stage>-<key16>`. What it needs is linked into it, an unfinished stage
is moved there with its checkpoint, and all that it leaves comes back, also after a kill.
"""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline import estimates
from pipeline.atomic import copy
from pipeline.cache.entry import RECORD_FILE, Entry
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store, check_no_link, remove_tree
from pipeline.cache.sync import sound_entries
from pipeline.errors import LockedError

FOLDER = "sweep"
"""In the working folder: where jobs have theirs."""
_KEY_DIGITS = 16


def sweep_store(main: Store) -> Store:
    """Return the folder of all jobs, whose lock a sweep with jobs holds.

    Raises:
        StoreError: It is a link, through which something outside would be written or removed.
    """
    return _not_through_a_link(main.home / FOLDER)


def job_store(main: Store, stage: str, key: str) -> Store:
    """Return the working folder of the job that begins with a stage of this key.

    Raises:
        StoreError: It is a link.
    """
    return _not_through_a_link(main.home / FOLDER / f"{stage}-{key[:_KEY_DIGITS]}")


def _not_through_a_link(folder: Path) -> Store:
    check_no_link(folder)
    return Store(folder)


def link_entry(entry: Entry, target: Store) -> None:
    """Bring a sound entry into another store on the same disk by hard links, else by copies.

    Raises:
        OSError: The disk is full or read-only; `target` is as it was.
    """
    stage, key = entry.record.stage, entry.record.key
    if target.find(stage, key).entry is not None:
        return
    out = target.work_path(stage, key).with_name(f"{key[:_KEY_DIGITS]}.linked")
    remove_tree(out)
    out.mkdir(parents=True)
    for file in entry.path.iterdir():
        if file.name == RECORD_FILE:
            continue
        try:
            (out / file.name).hardlink_to(file)
        except OSError:  # another disk, or one without links
            copy(file, out / file.name)
    target.commit(out, entry.record)


def lend(main: Store, job: Store, entries: Iterable[Entry], stage: str, key: str) -> None:
    """Give a job what it needs: entries, digests, and the unfinished stage where there is one.

    Raises:
        StoreError: A folder cannot be written.
    """
    job.prepare()
    with main.io_errors():
        for entry in entries:
            link_entry(entry, job)
        if main.digest_cache_path.is_file():
            copy(main.digest_cache_path, job.digest_cache_path)
        work = main.work_path(stage, key)
        if work.is_dir():
            _move(work, job.work_path(stage, key))


def bring_back(job: Store, main: Store, *, wait_s: float = 0.0) -> None:
    """Bring all that a job left into the main store, and remove its folder.

    Every entry is checked, byte by byte and its key against its document, before it counts.
    Unfinished stages come with their checkpoints, and what they took with all. The caller holds the
    lock of `main`; a job that is just ending is waited for, `wait_s` seconds at most.

    Raises:
        LockedError: The job still runs; nothing was changed.
        StoreError: A folder cannot be read or written.
    """
    with write_lock(job, command="sweep", wait_s=wait_s), main.io_errors():
        for entry in sound_entries(job):
            link_entry(entry, main)
        for work in (job.home / "work").glob("*/*"):
            target = main.home / "work" / work.parent.name / work.name
            if work.is_dir() and not work.name.endswith(".linked"):
                _move(work, target)
        estimates.adopt(main.home, job.home)
    with main.io_errors():
        remove_tree(job.home)


def reclaim(main: Store, note: Callable[[str], None]) -> None:
    """Bring back what jobs of a sweep that was killed left; the caller holds the lock of `main`.

    Raises:
        StoreError: A folder cannot be read or written.
    """
    for folder in sorted((main.home / FOLDER).glob("*-*/")):
        if not (folder / "layout.json").is_file():
            continue  # logs of a cluster
        try:
            bring_back(_not_through_a_link(folder), main)
        except LockedError as error:
            note(f"a job of an earlier sweep still runs: {error.wrong}")


def _move(source: Path, target: Path) -> None:
    remove_tree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
