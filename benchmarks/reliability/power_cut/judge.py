"""Whether what a power cut left in a working folder is whole or absent, old or new: never wrong."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmarks.reliability.power_cut.operations import (
    Operation,
    Renamed,
    Resized,
    Synced,
    Tree,
    Unnamed,
    Written,
    change,
)
from pipeline.cache.store import Store

HOME = ".madpipe"
_NAMED_BY = ("layout.json", "digests.json", "rates.json", ".gitignore", "newest", "state")
"""Files that are replaced as a whole; so are the records of runs."""


class Recorded:
    """What a recorded run made, operation by operation."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        """Note the entries, the contents under each name, and when an entry had to be durable."""
        self.operations = operations
        self.versions: dict[str, set[bytes]] = defaultdict(set)
        """Of each path the digests of what it ever held when it got its name or was written."""
        self.entries: dict[str, dict[str, bytes]] = {}
        """Of each entry's folder the digests of its files, when it became an entry."""
        self.due: dict[str, int] = {}
        """Of each entry's folder after how many operations no cut may take it any more."""
        self.checkpoints: dict[str, tuple[int, int]] = {}
        """Of each checkpoint from which operation on, and until which, it has to be there."""
        tree, contents = Tree(), dict[int, bytearray]()
        for number, operation in enumerate(operations, start=1):
            if isinstance(operation, Written | Resized):
                change(contents.setdefault(operation.node, bytearray()), operation)
            elif isinstance(operation, Synced):
                self._note_checkpoint(tree, operation, number)
            else:
                self._note_end(tree, operation, number)
                tree.apply(operation)
                if isinstance(operation, Renamed):
                    self._note(tree, operation, contents)
        for path, node in tree.paths().items():
            if node not in tree.folders:
                self.versions[path].add(_digest(bytes(contents.get(node, b""))))

    def _note_checkpoint(self, tree: Tree, operation: Synced, number: int) -> None:
        """Note that a checkpoint was made to last."""
        folder = next((p for p, n in tree.paths().items() if n == operation.node), "")
        if folder.endswith("/checkpoint") and "state" in tree.folders[operation.node]:
            self.checkpoints.setdefault(f"{folder}/state", (number, len(self.operations) + 1))

    def _note(self, tree: Tree, operation: Renamed, contents: Mapping[int, bytearray]) -> None:
        """Note what got a name by a rename."""
        path = next(p for p, node in tree.paths().items() if node == operation.node)
        if operation.node not in tree.folders:
            self.versions[path].add(_digest(bytes(contents.get(operation.node, b""))))
        elif PurePosixPath(path).match(f"{HOME}/entries/*/*"):
            self.entries[path] = {
                name: _digest(bytes(contents.get(node, b"")))
                for name, node in tree.folders[operation.node].items()
            }

    def _note_end(self, tree: Tree, operation: Operation, number: int) -> None:
        """Note that something of an unfinished stage is removed, whose entry has to last then."""
        if not isinstance(operation, Unnamed):
            return
        folder = next((p for p, n in tree.paths().items() if n == operation.folder), "")
        path = f"{folder}/{operation.name}"
        if path in self.checkpoints:
            self.checkpoints[path] = (self.checkpoints[path][0], number)
        parts = PurePosixPath(path).parts
        if parts[:2] == (HOME, "work") and len(parts) > 3:
            entry = "/".join((HOME, "entries", *parts[2:4]))
            if entry in self.entries:
                self.due.setdefault(entry, number)


def fault(files: Mapping[str, bytes | None], recorded: Recorded, cut: int) -> str:
    """Return what is wrong with files that a cut after so many operations left; empty: nothing."""
    return next(_faults(files, recorded, cut), "")


def _faults(files: Mapping[str, bytes | None], recorded: Recorded, cut: int) -> Iterator[str]:
    yield from _entry_faults(files, recorded, cut)
    for path, content in files.items():
        name = PurePosixPath(path)
        if content is None or not _is_replaced(name):
            continue
        if _digest(content) not in recorded.versions.get(path, set()):
            yield f"{path} is neither old nor new ({len(content)} bytes, {content[:12]!r})"
        elif name.name == "newest" and f"{name.parent}/{content.decode()}" not in files:
            yield f"{path} names an entry that is not there ({content.decode()})"
    for path, (first, last) in recorded.checkpoints.items():
        if first <= cut < last and path not in files:
            yield f"{path} is gone although it was kept before the cut"
    if cut == len(recorded.operations):
        for path in recorded.versions.keys() - files.keys():
            if _lasts(PurePosixPath(path)):
                yield f"{path} is gone although the run had ended before the cut"


def _entry_faults(files: Mapping[str, bytes | None], recorded: Recorded, cut: int) -> Iterator[str]:
    entries: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path, content in files.items():
        name = PurePosixPath(path)
        if name.match(f"{HOME}/entries/*/*") and content is None:
            entries[path] |= {}
        elif name.match(f"{HOME}/entries/*/*/*"):
            entries[str(name.parent)][name.name] = _digest(content or b"")
    for path, present in entries.items():
        whole = recorded.entries.get(path, {})
        wrong = sorted(n for n in whole.keys() | present.keys() if whole.get(n) != present.get(n))
        if wrong:
            yield f"{path} is neither whole nor absent ({', '.join(wrong)})"
    for path, number in recorded.due.items():
        if number <= cut and path not in entries:
            yield f"{path} is gone although its work had been removed before the cut"


def _is_replaced(path: PurePosixPath) -> bool:
    return path.name in _NAMED_BY or path.match(f"{HOME}/runs/*.json")


def _lasts(path: PurePosixPath) -> bool:
    """Return whether a file has to be there once a run has ended."""
    return path.name == "newest" or path.match(f"{HOME}/runs/*.json")


def store_fault(folder: Path) -> str:
    """Return what madpipe's own checks say of the entries below a folder; empty: all are sound."""
    store = Store(folder / HOME)
    for path, lookup in store.entries():
        if lookup.entry is None:
            return f"{path.name}: {lookup.damage}"
        record = lookup.entry.record
        if damage := store.find(record.stage, record.key).damage:
            return f"{path.name}: {damage}"
    return ""


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
