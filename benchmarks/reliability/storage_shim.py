"""Storage that fails on demand: the shim of `storage_shim.c`, and what it saw.

The shim is loaded into a whole process and those that it starts, so that the writes of torch, of
ONNX Runtime and of numpy are seen as well. It is compiled where it is used, which needs gcc.
"""

import errno
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("storage_shim.c")
_STATE_BYTES = 64
# Names that differ from run to run: of processes, of moments, and random ones.
_CHANGING = (
    (r"\b([0-9a-f]{16}|[0-9a-f]{32})\b", "*"),
    (r"\.([0-9a-f]{12}|\d+)(\.replaced)?\.part(?=/|$)", r".*\2.part"),
    (r"\d{8}T\d{6}\.\d+Z-\d+", "*"),
    (r"(madpipe|tmp)-?[0-9a-z_]{8}(?=/|$)", "*"),
)


class Site(NamedTuple):
    """A place where a command changes files: a call, and the path that it is given."""

    call: str
    """open, write, fsync, rename, mkdir, unlink, chmod or link."""
    path: str
    """Below the root, as a pattern in which `*` is for what differs from run to run."""
    times: int
    """How often it was met."""


class Fault(NamedTuple):
    """What fails, and how."""

    site: Site
    nth: int = 1
    """Which of the calls, from 1."""
    error: str = "ENOSPC"
    stays: bool = False
    """Whether all that need room or a writable disk fail from then on."""
    is_short: bool = False
    """Whether a write takes half of its bytes before."""
    clock_s: int = 0
    """Seconds by which the clock jumps in place of a failure."""

    def __str__(self) -> str:
        """Return it in a few words."""
        how = f"clock {self.clock_s:+} s" if self.clock_s else self.error
        more = ", and all after it" * self.stays + ", half before" * self.is_short
        return f"{self.site.call} {self.nth} of {self.site.path}: {how}{more}"


class Seen(NamedTuple):
    """A call that the shim noted."""

    call: str
    path: str
    """Below the root."""
    is_failed: bool


class Shim:
    """The compiled shim, and the variables that put it below a process."""

    def __init__(self, library: Path, scratch: Path) -> None:
        """Use a compiled shim; its log lies in `scratch`, which is made anew."""
        self._library = library
        self._log = scratch / "calls"
        self._state = scratch / "state"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)

    def variables(
        self, root: Path, fault: Fault | None = None, *, is_coarse: bool = False
    ) -> dict[str, str]:
        """Return the variables of a process whose calls below `root` are noted, and one fails."""
        self._log.write_bytes(b"")
        self._state.write_bytes(bytes(_STATE_BYTES))
        self._log.chmod(0o666)
        self._state.chmod(0o666)
        variables = {
            "LD_PRELOAD": str(self._library),
            "STORAGE_ROOT": str(root.resolve()),
            "STORAGE_LOG": str(self._log),
            "STORAGE_STATE": str(self._state),
            "STORAGE_COARSE": str(int(is_coarse)),
        }
        if fault is None:
            return variables
        return variables | {
            "STORAGE_CALL": fault.site.call,
            "STORAGE_PATH": fault.site.path,
            "STORAGE_NTH": str(fault.nth),
            "STORAGE_ERRNO": str(getattr(errno, fault.error)),
            "STORAGE_STAYS": str(int(fault.stays)),
            "STORAGE_SHORT": str(int(fault.is_short)),
            "STORAGE_CLOCK_S": str(fault.clock_s),
        }

    def seen(self) -> list[Seen]:
        """Return the noted calls in their order."""
        lines = self._log.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        fields = (line.split("\t") for line in lines)
        return [Seen(call, path, bool(what)) for call, path, what in fields]

    def failed(self) -> list[str]:
        """Return the paths below the root at which calls were made to fail."""
        return [seen.path for seen in self.seen() if seen.is_failed]


def compiled(folder: Path) -> Path:
    """Compile the shim into a folder; return the library.

    Raises:
        SystemExit: gcc is not installed.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        raise SystemExit("storage: needs gcc, for the shim below a process; install it")
    library = folder / "storage_shim.so"
    subprocess.run([gcc, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE], check=True)
    return library


def sites(calls: Iterable[Seen]) -> list[Site]:
    """Return the places of calls in the order in which they were met first."""
    counts = Counter((seen.call, pattern(seen.path)) for seen in calls)
    return [Site(call, path, count) for (call, path), count in counts.items()]


def pattern(path: str) -> str:
    """Return a path with `*` in place of what differs from run to run."""
    for changing, star in _CHANGING:
        path = re.sub(changing, star, path)
    return path
