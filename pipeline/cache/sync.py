"""Moving and removing whole entries of a store: sharing between machines, and cleaning up."""

import shutil
from pathlib import Path

from pipeline.cache.keys import key_of
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Entry, Store, damage_of, remove_tree


def copy_entries(source: Store, target: Store) -> int:
    """Copy every sound entry that `target` lacks; return how many.

    Each copy is checked, byte by byte and its key against its document, before it counts.

    Raises:
        StoreError: A folder cannot be read or written, or is held by another process.
    """
    copied = 0
    with write_lock(target, command="cache copy"):
        for path, lookup in source.entries():
            entry = lookup.entry
            if entry is None or damage_of(entry):
                continue
            stage, key = entry.record.stage, entry.record.key
            if path != source.entry_path(stage, key) or key_of(entry.record.key_document) != key:
                continue
            if target.find(stage, key).entry is not None:
                continue
            work = target.work_path(stage, key)
            with target.io_errors():
                remove_tree(work)
                out = work / "out"
                out.mkdir(parents=True)
                for name in entry.record.outputs:
                    file = entry.output(name)
                    shutil.copyfile(file, out / file.name)
                newest = target.newest(stage)
                target.commit(out, entry.record)
                if newest is not None:
                    target.mark_newest(stage, newest.record.key)
                remove_tree(work)
            copied += 1
    return copied


def collect_garbage(store: Store, *, keep: int, unfinished: bool) -> tuple[int, int]:
    """Remove damaged entries and all but the `keep` newest of each stage and the one used last.

    With `unfinished` also the work of unfinished stages, whose checkpoints are lost by it.
    Returns the number of folders removed and their bytes.

    Raises:
        StoreError: A folder cannot be removed, or another process holds the store.
    """
    to_remove: list[Path] = []
    with write_lock(store, command="cache gc"):
        sound: dict[str, list[Entry]] = {}
        for path, lookup in store.entries():
            if lookup.entry is None or damage_of(lookup.entry):
                to_remove.append(path)
            else:
                sound.setdefault(path.parent.name, []).append(lookup.entry)
        for stage, entries in sound.items():
            newest = store.newest(stage)
            entries.sort(key=lambda entry: entry.record.created_utc, reverse=True)
            to_remove += [entry.path for entry in entries[keep:] if entry != newest]
        if unfinished:
            to_remove += [path for path in (store.home / "work").glob("*/*") if path.is_dir()]
        files = (file for path in to_remove for file in path.rglob("*") if not file.is_dir())
        freed = sum(file.lstat().st_size for file in files)
        with store.io_errors():
            for path in to_remove:
                remove_tree(path)
    return len(to_remove), freed
