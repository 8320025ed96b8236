"""Moving and removing whole entries of a store: sharing between machines, and cleaning up."""

import os
import shutil
from pathlib import Path

from pipeline.cache.keys import key_of
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Lookup, Store, damage_of, remove_tree


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
            if (
                entry is None
                or damage_of(entry)
                or key_of(entry.record.key_document) != entry.record.key
            ):
                continue
            stage, key = entry.record.stage, entry.record.key
            if (path.parent.name, path.name) != (stage, target.entry_path(stage, key).name):
                continue
            if target.find(stage, key).entry is not None:
                continue
            work = target.work_path(stage, key)
            with target.io_errors():
                remove_tree(work)
                out = work / "out"
                out.mkdir(parents=True)
                for output in entry.record.outputs.values():
                    name = Path(output.file).name
                    shutil.copyfile(path / name, out / name)
                newest = target.newest(stage)
                target.commit(out, entry.record)
                if newest is not None:
                    target.mark_newest(stage, newest.record.key)
                remove_tree(work)
            copied += 1
    return copied


def collect_garbage(store: Store, *, keep: int, unfinished: bool) -> tuple[int, int]:
    """Remove damaged entries and all but the `keep` newest of each stage.

    With `unfinished` also the work of unfinished stages, whose checkpoints are lost by it.

    The entry that a stage used last is kept whatever its age. Returns the number of folders
    removed and their bytes.

    Raises:
        StoreError: A folder cannot be removed, or another process holds the store.
    """
    to_remove: list[Path] = []
    with write_lock(store, command="cache gc"):
        by_stage: dict[str, list[tuple[Path, Lookup]]] = {}
        for path, lookup in store.entries():
            by_stage.setdefault(path.parent.name, []).append((path, lookup))
        for stage, lookups in by_stage.items():
            newest = store.newest(stage)
            sound = [
                (path, lookup.entry)
                for path, lookup in lookups
                if lookup.entry is not None and damage_of(lookup.entry) is None
            ]
            sound_paths = {path for path, _ in sound}
            to_remove += [path for path, _ in lookups if path not in sound_paths]
            sound.sort(key=lambda pair: pair[1].record.created_utc, reverse=True)
            to_remove += [path for path, _ in sound[keep:] if newest is None or path != newest.path]
        if unfinished:
            to_remove += [path for path in (store.home / "work").glob("*/*") if path.is_dir()]
        freed = sum(_bytes(path) for path in to_remove)
        with store.io_errors():
            for path in to_remove:
                remove_tree(path)
    return len(to_remove), freed


def _bytes(folder: Path) -> int:
    return sum(
        os.lstat(Path(base, name)).st_size for base, _, names in os.walk(folder) for name in names
    )
