"""What a disk may hold after a power cut, of all that a journalling file system allows.

Bytes that no fsync of their file covers are there, lost, cut short or zeros, whatever became of
the file's name. Names are kept up to some operation behind the last fsync of anything, as one
journal keeps them in their order (ext4, XFS); or, since POSIX promises no order, each that no fsync
of its folder covers is kept or lost by itself. A rename is kept or lost as one.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.reliability.power_cut.operations import (
    Named,
    Operation,
    Renamed,
    Resized,
    Synced,
    Tree,
    Unnamed,
    Written,
    change,
)

_BLOCK_BYTES = 4096
_LOSSES = ("whole", "lost", "zeros", "short", "holes")


class Disk:
    """One of the states that a cut after some operations may leave."""

    def __init__(self, operations: Sequence[Operation], random: Random) -> None:
        """Choose one for a cut behind the last of the operations."""
        self._operations = operations
        self._random = random
        is_journal = random.random() < 0.5
        kept = self._kept_in_order() if is_journal else self._kept_alone()
        self._tree = Tree()
        for operation in kept:
            self._tree.apply(operation)
        # Often the same for all files: many at once are what a short outage does.
        self._losses = _LOSSES if random.random() < 0.5 else (random.choice(_LOSSES),)

    def files(self) -> dict[str, bytes | None]:
        """Return the bytes of all files by their paths; None for folders."""
        contents = self._contents()
        return {
            path: None if node in self._tree.folders else contents.get(node, b"")
            for path, node in self._tree.paths().items()
        }

    def _kept_in_order(self) -> list[Named | Unnamed | Renamed]:
        operations = self._operations
        durable = max(
            (i for i, operation in enumerate(operations) if isinstance(operation, Synced)),
            default=0,
        )
        end = self._random.choice(
            (durable, len(operations), self._random.randint(durable, len(operations)))
        )
        return [x for x in operations[:end] if isinstance(x, Named | Unnamed | Renamed)]

    def _kept_alone(self) -> list[Named | Unnamed | Renamed]:
        share = self._random.choice((0.0, 0.5, 1.0))
        kept: list[Named | Unnamed | Renamed] = []
        synced: set[int] = set()
        for operation in reversed(self._operations):
            if isinstance(operation, Synced):
                synced.add(operation.node)
            elif isinstance(operation, Named | Unnamed | Renamed):
                folder = operation.folder
                if isinstance(operation, Renamed):
                    folder = operation.new_folder
                if folder in synced or self._random.random() < share:
                    kept.append(operation)
        return kept[::-1]

    def _contents(self) -> dict[int, bytes]:
        """Return the bytes of each file, with a loss of its own behind its last fsync."""
        durable: dict[int, bytes] = {}
        present: dict[int, bytearray] = {}
        for operation in self._operations:
            if isinstance(operation, Written | Resized):
                change(present.setdefault(operation.node, bytearray()), operation)
            elif isinstance(operation, Synced) and operation.node in present:
                durable[operation.node] = bytes(present[operation.node])
        return {
            node: self._left(durable.get(node, b""), bytes(content))
            for node, content in present.items()
        }

    def _left(self, durable: bytes, content: bytes) -> bytes:
        if durable == content:
            return content
        loss = self._random.choice(self._losses)
        if loss in ("whole", "lost"):
            return content if loss == "whole" else durable
        safe = _equal_bytes(durable, content)
        if loss == "zeros":
            return content[:safe].ljust(len(content), b"\0")
        if loss == "short":
            return content[: self._random.randint(safe, len(content))]
        left = bytearray(content)
        for begin in range(safe, len(content), _BLOCK_BYTES):
            end = min(begin + _BLOCK_BYTES, len(content))
            if self._random.random() < 0.5:
                left[begin:end] = bytes(end - begin)
        return bytes(left)


def write(files: dict[str, bytes | None], folder: Path) -> None:
    """Make files and folders below a folder."""
    for path, content in files.items():
        target = folder / path
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _equal_bytes(first: bytes, second: bytes) -> int:
    """Return how many bytes two contents begin with in common."""
    if second.startswith(first):
        return len(first)
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return low
