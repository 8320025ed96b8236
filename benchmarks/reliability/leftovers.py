"""Files that a run leaves for ever because a signal ended it, and those that it lacks."""

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
