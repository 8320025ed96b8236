"""What a run that a signal ended must not leave: processes that live, files that nobody removes."""

import os
import re
import time
from pathlib import Path

from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store

_KNOWN = re.compile(
    r"\.gitignore|layout\.json|lock|(digests|rates)\.json|runs/[^/]+\.json"
    r"|entries/[a-z]+/(newest|[0-9a-f]{16}/[^/]+)"
)
"""Every file that a working folder has after a run, as paths in it."""
_OPTIONAL = frozenset({"digests.json", "rates.json"})
"""What only saves time, and is written anew by the next run that computes anything."""
_LONG_AGO_S = 3600.0


def alive(mark: str, *, within_s: float) -> list[str]:
    """Return the command lines of processes with `mark` in their environment, after a while.

    It returns as soon as there are none.
    """
    end_s = time.monotonic() + within_s
    while (found := _marked(mark)) and time.monotonic() < end_s:
        time.sleep(0.05)
    return found


def _marked(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                words = (folder / "cmdline").read_bytes().split(b"\0")
                found.append(b" ".join(words).decode(errors="replace")[:200])
        except OSError:  # it ended, or it is another user's
            continue
    return [line for line in found if line]  # a zombie has no command line


def age(home: Path) -> None:
    """Make all files of a working folder look old, and take its lock as the next run does."""
    then_s = time.time() - _LONG_AGO_S
    for path in home.rglob("*"):
        os.utime(path, (then_s, then_s), follow_symlinks=False)
    with write_lock(Store(home), command="the campaign of faults"):
        pass


def strange_files(home: Path) -> list[str]:
    """Return the files of a working folder that no run leaves, and empty work of no run."""
    names = (path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir())
    work = (path.relative_to(home).as_posix() for path in (home / "work").glob("*/*"))
    return sorted({*(name for name in names if _KNOWN.fullmatch(name) is None), *work})


def missing_files(home: Path, alone: Path) -> list[str]:
    """Return the files of a run left alone that a working folder lacks, but for records of runs."""
    wanted = (path.relative_to(alone).as_posix() for path in alone.rglob("*") if path.is_file())
    return sorted(
        name
        for name in wanted
        if not name.startswith("runs/") and name not in _OPTIONAL and not (home / name).is_file()
    )
