"""Moving and removing whole entries of a store: sharing between machines, and cleaning up."""

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.cache.keys import key_of
from pipeline.cache.lock import writing
from pipeline.cache.store import Lookup, Store, damage_of, remove_tree


def copy_entries(source: Store, target: Store) -> int:
    """Copy every sound entry that `target` lacks; return how many.

    Each copy is checked, byte by byte and its key against its parts, before it counts.

    Raises:
        StoreError: A folder cannot be read or written, or is held by another process.
    """
    copied = 0
    with _held(target, "cache copy"):
        for path, lookup in source.entries():
            entry = lookup.entry
            if (
                entry is None
                or damage_of(entry)
                or key_of(entry.manifest.parts) != entry.manifest.key
            ):
                continue
            stage, key = entry.manifest.stage, entry.manifest.key
            if (path.parent.name, path.name) != (stage, target.entry_path(stage, key).name):
                continue
            if target.find(stage, key).entry is not None:
                continue
            work = target.work_path(stage, key)
            try:
                remove_tree(work)
                out = work / "out"
                out.mkdir(parents=True)
                for record in entry.manifest.outputs.values():
                    shutil.copyfile(path / Path(record.file).name, out / Path(record.file).name)
                newest = target.newest(stage)
                target.commit(out, entry.manifest)
                if newest is not None:
                    target.mark_newest(stage, newest.manifest.key)
                remove_tree(work)
            except OSError as error:
                raise target.failure(error) from error
            copied += 1
    return copied


def collect(store: Store, *, keep: int, unfinished: bool) -> tuple[int, int]:
    """Remove damaged entries and all but the `keep` newest of each stage.

    With `unfinished` also the work of unfinished stages, whose checkpoints are lost by it.

    The entry that a stage used last is kept whatever its age. Returns the number of folders
    removed and their bytes.

    Raises:
        StoreError: A folder cannot be removed, or another process holds the store.
    """
    doomed: list[Path] = []
    with _held(store, "cache gc"):
        by_stage: dict[str, list[tuple[Path, Lookup]]] = {}
        for path, lookup in store.entries():
            by_stage.setdefault(path.parent.name, []).append((path, lookup))
        for stage, found in by_stage.items():
            newest = store.newest(stage)
            sound = [
                (path, lookup.entry)
                for path, lookup in found
                if lookup.entry is not None and damage_of(lookup.entry) is None
            ]
            doomed += [path for path, _ in found if path not in {each for each, _ in sound}]
            sound.sort(key=lambda pair: pair[1].manifest.created_utc, reverse=True)
            doomed += [p for p, _ in sound[keep:] if newest is None or p != newest.path]
        if unfinished:
            doomed += [path for path in (store.home / "work").glob("*/*") if path.is_dir()]
        freed = sum(_bytes(path) for path in doomed)
        try:
            for path in doomed:
                remove_tree(path)
        except OSError as error:
            raise store.failure(error) from error
    return len(doomed), freed


def _held(store: Store, command: str) -> AbstractContextManager[None]:
    return writing(store, wait_s=0.0, command=command, tell=lambda _: None, stop=lambda: None)


def _bytes(folder: Path) -> int:
    return sum(
        os.lstat(Path(base, name)).st_size for base, _, names in os.walk(folder) for name in names
    )
