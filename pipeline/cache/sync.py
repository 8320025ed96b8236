"""Moving and removing whole entries of a store: sharing between machines, and cleaning up."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline import atomic
from pipeline.cache.arrivals import record_fault
from pipeline.cache.entry import RECORD_FILE, Entry, EntryRecord, damage_of
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store, remove_tree
from pipeline.errors import StoreError

_ARRIVING = "arriving"
_FOLDER_NAME = re.compile(r"[0-9a-f]{16}(\.linked)?")
"""Of an entry, of an unfinished stage, and of an entry that is linked for a job of a sweep."""
_COMMITS = threading.Lock()


def copy_entries(source: Store, target: Store, *, overwrite: bool = False) -> int:
    """Copy every sound entry that `target` lacks, or also those it has; return how many.

    Each copy is checked, byte by byte and its key against its document, before it counts.

    Raises:
        StoreError: A folder cannot be read or written, or is held by another process.
    """
    copied = 0
    with write_lock(target, command="cache copy"):
        for entry in sound_entries(source):
            record = entry.record
            if overwrite or target.find(record.stage, record.key).entry is None:
                copy_entry(entry, target)
                copied += 1
    return copied


def sound_entries(
    store: Store, is_wanted: Callable[[EntryRecord], bool] = lambda _: True
) -> Iterator[Entry]:
    """Yield every wanted entry that is as it was stored, after reading all its bytes."""
    for path, lookup in store.entries():
        entry = lookup.entry
        if entry is not None and is_wanted(entry.record) and _is_sound(store, path, entry):
            yield entry


def _is_sound(store: Store, path: Path, entry: Entry) -> bool:
    record = entry.record
    if record_fault(record) or path != store.entry_path(record.stage, record.key):
        return False
    return damage_of(entry) is None


def copy_entry(entry: Entry, target: Store) -> Entry:
    """Copy an entry, whose record has no fault, into a store that this process holds; check it.

    Raises:
        StoreError: A folder cannot be read or written, or the entry changed in the meantime.
    """

    def copy(out: Path) -> EntryRecord:
        for name in entry.record.outputs:
            file = entry.output(name)
            atomic.copy(file, out / file.name)
        if damage := damage_of(Entry(out, entry.record)):
            raise StoreError(str(entry.path), f"changed meanwhile ({damage})", "repeat the command")
        return entry.record

    copied = take_in(target, entry.record.stage, entry.record.key, copy)
    assert copied is not None
    return copied


def take_in(
    store: Store, stage: str, key: str, bring: Callable[[Path], EntryRecord | None]
) -> Entry | None:
    """Make an entry of the files that `bring` writes into a folder; None where it has none.

    `bring` makes sure that they are what its record says. A checkpoint of the same key stays until
    the entry is there. `store` must be held by this process, of which several threads may call;
    which entry of the stage was used last stays as it was.

    Raises:
        StoreError: The store cannot be written.
    """
    work = store.work_path(stage, key)
    with store.io_errors():
        store.check_unfinished(stage, key)
        with _arriving(work) as out:
            record = bring(out)
            if record is None:
                return None
            with _COMMITS:
                entry = store.commit(out, record, is_newest=store.newest(stage) is None)
        remove_tree(work)
    return entry


@contextlib.contextmanager
def _arriving(work: Path) -> Iterator[Path]:
    """Yield a folder for what arrives, and remove it: after a failure only where that works."""
    folder = work / _ARRIVING
    remove_tree(folder)
    out = folder / "out"
    out.mkdir(parents=True)
    try:
        yield out
        remove_tree(folder)
    except BaseException:
        with contextlib.suppress(OSError):  # what failed before is what is to be said
            remove_tree(folder)
        raise
    finally:
        with contextlib.suppress(OSError):
            work.rmdir()  # unless there is a checkpoint in it


def _is_own(path: Path) -> bool:
    """Return whether the store made a folder of this name, and in this place."""
    return _FOLDER_NAME.fullmatch(path.name) is not None and not path.is_symlink()


def collect_garbage(
    store: Store,
    *,
    keep: int,
    unfinished: bool,
    on_note: Callable[[str], None] = lambda _: None,
) -> tuple[int, int]:
    """Remove damaged entries and all but the `keep` newest of each stage and the one used last.

    With `unfinished` also the work of unfinished stages, whose checkpoints are lost by it. What is
    not named as this store names its folders, or is a link to another place, is not its own and
    stays. A run of what is stored holds no lock; the entries that it marks as used last stay, too.
    Returns the number of folders removed and their bytes.

    Raises:
        StoreError: A folder cannot be removed, or another process holds the store.
    """
    unneeded: list[Path] = []
    to_remove: list[Path] = []
    with write_lock(store, command="cache gc", on_unnamed=on_note), store.io_errors():
        sound: dict[str, list[Entry]] = {}
        for path, lookup in store.entries():
            if not _is_own(path):
                continue
            if lookup.entry is None or damage_of(lookup.entry):
                to_remove.append(path)
            else:
                sound.setdefault(path.parent.name, []).append(lookup.entry)
        for stage, entries in sound.items():
            newest = store.newest(stage)
            entries.sort(key=lambda entry: entry.record.created_utc, reverse=True)
            unneeded += [entry.path for entry in entries[keep:] if entry != newest]
        if unfinished:
            to_remove += [path for path in (store.home / "work").glob("*/*/") if _is_own(path)]
        to_remove += [path for path in unneeded if _withdraw(store, path)]
        files = (file for path in to_remove for file in path.rglob("*") if not file.is_dir())
        freed = sum(file.lstat().st_size for file in files)
        for path in to_remove:
            remove_tree(path)
    return len(to_remove), freed


def _withdraw(store: Store, path: Path) -> bool:
    """Take the record of an entry away, unless a run marked the entry as used last meanwhile.

    A run of what is stored marks its entries and then looks whether they are there. Here the record
    goes first and comes back where there is a mark by then. So the run misses the entry, or the
    entry stays. Returns whether the record is gone.

    Raises:
        OSError: The entry cannot be removed.
    """
    record = path / RECORD_FILE
    aside = record.with_name(f"{RECORD_FILE}.removed")
    with atomic.naming(path):
        try:
            record.rename(aside)
        except OSError as error:
            if error.errno not in atomic.WITHOUT_ROOM:
                raise
            record.unlink()  # some file systems need room for another name, and none for this
            return True
        if store.newest_path(path.parent.name) != path:
            return True
        aside.rename(record)
    return False
