"""Starting processes at once, killing some of them, and how the others ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from benchmarks.reliability import small_project
from benchmarks.reliability.processes.observer import Observer
from benchmarks.reliability.small_project import Ended

LONGEST_S = 1800.0
_POLL_S = 0.02


class Crowd:
    """Processes that were started at once."""

    def __init__(
        self, folders: Sequence[Path], commands: Sequence[Sequence[str]], logs: Path
    ) -> None:
        """Start one process for each folder and command; what they say goes into files."""
        logs.mkdir()
        self.killed: set[int] = set()
        """The places of those that were killed."""
        self._logs = logs
        self.processes = [
            self._start(place, folder, arguments)
            for place, (folder, arguments) in enumerate(zip(folders, commands, strict=True))
        ]

    def _start(self, place: int, folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (
            (self._logs / f"{place}.out").open("wb") as out,
            (self._logs / f"{place}.err").open("wb") as err,
        ):
            return subprocess.Popen(
                [small_project.MADPIPE, *arguments],
                cwd=folder,
                env=small_project.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [process.pid for process in self.processes]

    def kill(self, place: int) -> None:
        """Kill a process and all that it started, unless it has ended."""
        process = self.processes[place]
        if process.poll() is None:
            self.killed.add(place)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def play(self, kills: Mapping[int, float]) -> list[Ended]:
        """Kill places after seconds, and wait for all; return how each ended, -9 where killed.

        Raises:
            subprocess.TimeoutExpired: One did not end.
        """
        begin_s, waiting = time.monotonic(), dict(kills)
        try:
            while any(process.poll() is None for process in self.processes):
                now_s = time.monotonic() - begin_s
                if now_s > LONGEST_S:
                    raise subprocess.TimeoutExpired("madpipe", LONGEST_S)
                for place in [place for place, at_s in waiting.items() if at_s <= now_s]:
                    del waiting[place]
                    self.kill(place)
                time.sleep(_POLL_S)
        finally:
            for place in range(len(self.processes)):
                self.kill(place)
        return [self.ended(place) for place in range(len(self.processes))]

    def ended(self, place: int) -> Ended:
        """Return how a process ended."""
        texts = (self._logs / f"{place}.{end}" for end in ("out", "err"))
        stdout, stderr = (path.read_text(errors="replace") for path in texts)
        return Ended(self.processes[place].wait(), stdout, stderr)


def random_kills(count: int, among: int, longest_s: float, random: Random) -> dict[int, float]:
    """Return after how many seconds to kill which of the places; one is never killed."""
    places = random.sample(range(among), min(count, among - 1))
    return {place: random.uniform(0.1, longest_s) for place in places}


def fault_of(endings: Sequence[Ended], crowd: Crowd, codes: Sequence[int] = (0,)) -> str:
    """Return how a process that was not killed ended otherwise than it may; empty: none did."""
    for place, ended in enumerate(endings):
        if place in crowd.killed:
            continue
        if ended.code not in codes or "Traceback" in ended.stderr:
            return (
                f"process {place}: expected {codes}, ended with {ended.code}: {ended.stderr[-400:]}"
            )
    return ""


def overlap_of(observer: Observer) -> str:
    """Return who wrote at the same time; empty: nobody did."""
    if not observer.overlaps:
        return ""
    return f"expected one writer at a time, saw {observer.overlaps[0]}"
