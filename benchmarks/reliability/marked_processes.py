"""The processes of one case, found by what only they have in their environment."""

import time
from pathlib import Path

_POLL_S = 0.02


def living(mark: str) -> dict[int, str]:
    """Return the living processes with `mark` in their environment: number and command line."""
    lines = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                words = (folder / "cmdline").read_bytes().split(b"\0")
                lines[int(folder.name)] = b" ".join(words).decode(errors="replace")
        except OSError:  # it ended, or it is another user's
            continue
    return {number: line for number, line in lines.items() if line}  # a zombie has no words


def gone(mark: str, *, within_s: float) -> list[str]:
    """Return the command lines of those that still live after so many seconds.

    It returns as soon as there are none.
    """
    end_s = time.monotonic() + within_s
    while (lines := living(mark)) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
    return [line[:200] for line in lines.values()]


def appeared(mark: str, words: str, *, within_s: float) -> int | None:
    """Return the first process with `words` in its command line; None where none comes."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        for number, line in living(mark).items():
            if words in line:
                return number
        time.sleep(_POLL_S)
    return None
