"""Signals at a named call of a real process: between a write and its rename, in half a write.

A library in C is loaded before libc into the process, which needs gcc and Linux. It notes each call
that changes a file below a folder, and sends a signal at the one that it was told.
"""

import functools
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_suffix(".c")
_LIBRARY = "fault_points.so"
_STRUCK = "signal"
_CHANGING = (
    (re.compile(r"\.\d+\.part"), ".*.part"),
    (re.compile(r"runs/\d{8}T[^/]*\.json"), "runs/*.json"),
    (re.compile(r"madpipe-[a-z0-9_]{8}"), "madpipe-????????"),
)
"""What differs in the paths of two runs, and the pattern that fits both."""


class Call(NamedTuple):
    """A call that changes a file."""

    name: str
    path: str
    """Below the folder that is watched; a pattern where it is a place."""

    @property
    def place(self) -> "Call":
        """The call as another run makes it: what is new in each run is a `*`."""
        path = self.path
        for changing, pattern in _CHANGING:
            path = changing.sub(pattern, path)
        return Call(self.name, path)

    def __str__(self) -> str:
        """Return the call as a remark tells it."""
        return f"{self.name} {re.sub('[0-9a-f]{16}', 'KEY', self.path)}"


class Strike(NamedTuple):
    """A signal and the call at which it comes."""

    signal: int
    at: int
    """Which of the calls that fit, from 1."""
    place: Call = Call("", "")
    """Of which those that fit count; an empty name or pattern fits all."""
    after: str = ""
    """Calls count behind a rename to a path of this pattern; empty: from the start."""
    is_torn: bool = False
    """Whether half of the bytes of a write are written before."""


@functools.cache
def library(folder: Path) -> Path:
    """Return the library, compiled into a folder where it is not there.

    Raises:
        subprocess.CalledProcessError: It cannot be compiled.
        FileNotFoundError: There is no gcc.
    """
    path = folder / _LIBRARY
    command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(path), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return path


def variables(
    library_path: Path, *, root: Path, log: Path, strike: Strike | None = None
) -> dict[str, str]:
    """Return the variables of a process whose changes below `root` are noted in `log`."""
    watched = {"LD_PRELOAD": str(library_path), "FAULT_ROOT": f"{root}/", "FAULT_LOG": str(log)}
    if strike is None:
        return watched
    return watched | {
        "FAULT_SIGNAL": str(int(strike.signal)),
        "FAULT_AT": str(strike.at),
        "FAULT_CALL": strike.place.name,
        "FAULT_PATH": strike.place.path,
        "FAULT_AFTER": strike.after,
        "FAULT_TORN": str(int(strike.is_torn)),
    }


def calls(log: Path) -> list[Call]:
    """Return the calls noted in a log, none where nothing was changed."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    noted = (line.partition("\t") for line in lines)
    return [Call(name, path) for name, _, path in noted if name != _STRUCK]


def struck(log: Path) -> bool:
    """Return whether the signal came."""
    return log.is_file() and f"{_STRUCK}\t\n" in log.read_text(encoding="utf-8")


def places(noted: Sequence[Call]) -> dict[Call, int]:
    """Return the places of a run's calls in their order, and how often each is called."""
    return dict(Counter(call.place for call in noted))
