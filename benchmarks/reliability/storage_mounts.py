"""File systems and users of a case's own; both need root on Linux."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.reliability.small_project import MADPIPE, Ended

OTHER_USER = 54_321
"""A user id that no system knows by a name."""
_OPEN_TO_ALL = 0o001

# The interpreter may lie in a folder that is closed to others, such as the home of root.
_AS_OTHER_USER = """
set -e
if [ -n "$CLOSED" ]; then
  mkdir -p "$SCRATCH/python"
  mount --bind "$PYTHON" "$SCRATCH/python"
  mount -t tmpfs -o mode=755 none "$CLOSED"
  mkdir -p "$PYTHON"
  mount --bind "$SCRATCH/python" "$PYTHON"
fi
unset CLOSED PYTHON SCRATCH
exec setpriv --reuid "$WHO" --regid "$WHO" --clear-groups "$@"
"""


def why_not() -> str:
    """Return why this machine lets no case mount or change its user; empty where it does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "not tested: needs root on Linux"
    lacking = [tool for tool in ("mount", "unshare", "setpriv") if shutil.which(tool) is None]
    if lacking:
        return f"not tested: {', '.join(lacking)} not installed"
    done = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)  # noqa: S607
    return "not tested: no mounts are allowed here" if done.returncode else ""


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """Mount a file system in memory of so many KiB at a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607


def fill(path: Path) -> None:
    """Write a file until its file system has no room for another byte."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass


def mount(*words: str) -> None:
    """Call `mount`."""
    subprocess.run(["mount", *words], check=True)  # noqa: S607


def run_as_other(
    folder: Path, *words: str, scratch: Path, variables: Mapping[str, str], limit_s: float = 300.0
) -> Ended:
    """Run madpipe in a folder as a user who has neither a name nor rights of root."""
    closed = _closed_folder(Path(sys.base_prefix))
    environment = dict(variables) | {
        "WHO": str(OTHER_USER),
        "PYTHON": sys.base_prefix,
        "CLOSED": str(closed) if closed else "",
        "SCRATCH": str(scratch),
    }
    command = ["unshare", "-m", "sh", "-c", _AS_OTHER_USER, "sh", os.fspath(MADPIPE), *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def give(folder: Path, owner: int) -> None:
    """Give a folder and all in it to a user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)


def open_way(folder: Path, top: Path) -> None:
    """Let everybody into the folders from `top` down to a folder."""
    for path in (folder, *folder.parents):
        path.chmod(0o755)
        if path == top:
            return


def _closed_folder(path: Path) -> Path | None:
    """Return the topmost folder on the way to a path that others may not enter."""
    closed = [p for p in path.parents if not p.stat().st_mode & _OPEN_TO_ALL]
    return closed[-1] if closed else None
