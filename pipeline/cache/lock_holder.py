"""Who holds a working folder: a file beside its lock that names the holder, and shows that it runs.

The lock itself is the operating system's. On some network file systems it keeps apart only the
processes of one machine, and no call says so. There the file counts: its holder writes its time
anew every few seconds, and who got the lock although another is named looks whether that goes on.
"""

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pipeline import stored_files
from pipeline.atomic import naming

BEAT_S = 2.0
"""Seconds between two signs of a holder."""
SILENCE_S = 12.0
"""After so many seconds without a sign a holder is taken for dead."""
_POLL_S = 0.2


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds a working folder."""

    pid: int
    host: str
    command: str
    boot: str = ""
    """Of the kernel that it runs on, which containers share; empty where none is known."""

    @classmethod
    def here(cls, command: str) -> "Holder":
        """Return this process."""
        return cls(pid=os.getpid(), host=platform.node(), command=command, boot=_boot())

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is a process of another machine, whose locks may not reach this one."""
        return self.host != platform.node() and not (self.boot and self.boot == _boot())

    def __str__(self) -> str:
        """Return how messages name it."""
        return f"process {self.pid} on {self.host}: {self.command}"


def read(path: Path) -> Holder | None:
    """Return the holder that a file names, None where it names none."""
    try:
        return stored_files.decode(stored_files.read_bytes(path), Holder)
    except (OSError, msgspec.DecodeError):
        return None


def runs(path: Path, holder: Holder, stop_asked: Callable[[], bool]) -> bool:
    """Return whether the holder that a file names goes on giving signs; wait for one.

    A stop that is asked for ends the waiting, as if it ran.
    """
    before, begin_s = _sign(path), time.monotonic()
    while time.monotonic() - begin_s < SILENCE_S:
        if stop_asked():
            return True
        time.sleep(_POLL_S)
        if read(path) is None:
            return False
        if _sign(path) != before or read(path) != holder:
            return True
    return False


@contextlib.contextmanager
def named(path: Path, holder: Holder) -> Iterator[Callable[[], Holder | None]]:
    """Name the holder in a file and give signs; at the end the file goes.

    Yields a function that returns another holder who wrote its name there in the meantime.

    Raises:
        OSError: The file cannot be written.
    """
    with naming(path):
        path.write_bytes(msgspec.json.encode(holder))
    others: list[Holder] = []
    is_over = threading.Event()

    def look() -> Holder | None:
        present = read(path)
        if present is not None and present != holder and not others:
            others.append(present)
        return others[0] if others else None

    def beat() -> None:
        while not is_over.wait(BEAT_S):
            look()
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, name="madpipe-lock", daemon=True)
    thread.start()
    try:
        yield look
    finally:
        is_over.set()
        thread.join()
        # A name left behind does no harm: who comes next finds no sign of this process.
        with contextlib.suppress(OSError):
            if read(path) == holder:
                path.unlink()


def _sign(path: Path) -> int:
    """Return what a sign changes; opened, since network file systems keep what they once saw."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
