"""Who writes, seen from outside: which processes have a stage's log open, at every moment."""

import os
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

_LOG = "events.jsonl"
"""Open from a stage's start to its end by the process that runs it."""
_EVERY_S = 0.01


class Observer:
    """Looks in `/proc` while several processes run, and knows nothing of madpipe's lock."""

    def __init__(self, home: Path, pids: Callable[[], Sequence[int]]) -> None:
        """Look for who of `pids` runs a stage in a working folder."""
        self.overlaps: list[tuple[int, int]] = []
        """Pairs of processes that ran a stage at the same time."""
        self.writers: set[int] = set()
        """All that ran a stage."""
        self._work = f"{home.resolve()}/work/"
        self._pids = pids
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        writing = [pid for pid in self._pids() if self._writes(pid)]
        self.writers |= set(writing)
        # The first may have ended before the second began: it has to write still, or again.
        for first, second in pairwise(writing):
            if self._writes(first) and self._writes(second) and self._writes(first):
                self.overlaps.append((first, second))

    def _watch(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            self.look()

    def _writes(self, pid: int) -> bool:
        folder = f"/proc/{pid}/fd"
        try:
            for name in os.listdir(folder):  # noqa: PTH208  (once in 10 ms, for ten processes)
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
                if target.startswith(self._work) and target.endswith(_LOG):
                    return True
        except OSError:
            return False  # it ended, or closed a file meanwhile
        return False
