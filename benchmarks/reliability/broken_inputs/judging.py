"""Whether a command took a broken input as it should: what it said, left and used up."""

import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability.broken_inputs import actions
from benchmarks.reliability.broken_inputs.fork_server import (
    COMPILED,
    MAX_BYTES,
    MAX_SECONDS,
    Ended,
    Layout,
)
from pipeline import exit_codes

CODES = {entry.code for entry in exit_codes.ALL}
_JUDGED = (exit_codes.GATE_FAILED, exit_codes.GATE_INCONCLUSIVE)
"""Codes of a result, which need no message."""
_MESSAGE = re.compile(r".: .+; .+", re.DOTALL)
_SPILLS = re.compile(
    r"Traceback \(most recent|madpipe: unexpected |\.py:\d+: \w*Warning|Exception ignored"
    r"|Segmentation fault|terminate called|Fatal Python error|failure\.txt"
)
TRACEBACK = "--traceback"
_FOREIGN = "foreign"
_STORE = ".madpipe"
_QUOTED = 300


class Before(NamedTuple):
    """What lay in the folders of a case before its command ran."""

    files: dict[str, str]
    """Digests of the files in the project that are not madpipe's."""
    foreign: dict[str, str]
    """Digests of the files beside it."""
    entries: frozenset[str]
    """Folders of stored stages."""


def look(layout: Layout) -> Before:
    """Return what lies in the folders of a case."""
    entries = (layout.project / _STORE).glob("entries/*/*/")
    return Before(
        files=_digests(layout.project),
        foreign=_digests(layout.foreign),
        entries=frozenset(str(path) for path in entries),
    )


def fault(arguments: Sequence[str], ended: Ended, layout: Layout) -> str:
    """Return what was wrong about how a command ended, or nothing."""
    if ended.killed_for:
        return _of(arguments, f"expected less than {ended.killed_for}, was killed there", layout)
    if ended.code not in CODES:
        return _of(arguments, f"ended with {ended.code}, which is no code of ours", layout)
    if ended.peak_bytes > MAX_BYTES or ended.seconds > MAX_SECONDS:
        used = f"{ended.peak_bytes / 1024**2:.0f} MiB and {ended.seconds:.1f} s"
        return _of(arguments, f"expected 2 GiB and 20 s at most, took {used}", layout)
    if ended.left_running:
        return _of(arguments, f"left {ended.left_running} processes running", layout)
    errors = _text(layout.stream("stderr"))
    if TRACEBACK not in arguments and (wrong := _of_text(ended.code, errors)):
        return _of(arguments, wrong, layout)
    notes = [note for note in _text(layout.notes).splitlines() if not _is_asked(note, arguments)]
    return _of(arguments, notes[0].strip("'"), layout) if notes else ""


def _is_asked(note: str, arguments: Sequence[str]) -> bool:
    """Return whether a file beside the project was read since the command line names its folder."""
    is_named = any(_FOREIGN in Path(argument).parts for argument in arguments)
    return is_named and note.strip("\"'").startswith(actions.READ_ANOTHERS)


def _of_text(code: int, errors: str) -> str:
    """Return what is wrong about what a command wrote to standard error."""
    if spill := _SPILLS.search(errors):
        return f"expected a message, wrote {spill.group()!r}"
    if code and code not in _JUDGED and not _MESSAGE.search(errors):
        return f"expected `place: wrong; remedy` with exit {code}"
    return ""


def changed(
    arguments: Sequence[str], targets: Sequence[str], before: Before, layout: Layout
) -> str:
    """Return which file that is not madpipe's it changed or removed, or nothing."""
    after = look(layout)
    if after.foreign != before.foreign:
        return _of(arguments, f"changed what lies beside: {_first(before.foreign, after.foreign)}")
    roots = tuple(os.path.normpath(target) for target in targets)
    kept = {path: digest for path, digest in before.files.items() if not _below(path, roots)}
    if gone := [path for path, digest in kept.items() if after.files.get(path) != digest]:
        return _of(arguments, f"changed or removed {gone[0]}, which is the user's")
    lost = before.entries - after.entries
    if lost and arguments[:2] != ["cache", "gc"]:
        return _of(arguments, f"removed a stored stage: {min(lost)}")
    if left := [path for path in layout.temporary.iterdir() if path.name != COMPILED]:
        return _of(arguments, f"left {left[0].name} among the temporary files")
    if left := [path for path in layout.home.iterdir() if not _is_font_list(path)]:
        return _of(arguments, f"left {left[0].name} in the user's home")
    return ""


def _is_font_list(path: Path) -> bool:
    """Return whether a folder holds what matplotlib keeps for whoever imports it, and no more."""
    names = [inner.name for inner in path.iterdir()] if path.is_dir() else []
    return path.name in (".cache", ".config") and names == ["matplotlib"]


def _digests(folder: Path) -> dict[str, str]:
    """Return what identifies each file of a folder that is not in a working folder of madpipe."""
    digests = {}
    for parent, folders, names in os.walk(folder):
        if _STORE in folders:
            folders.remove(_STORE)
        for name in (*names, *folders):
            path = Path(parent, name)
            relative = os.path.relpath(path, folder)
            if path.is_symlink():
                digests[relative] = f"link to {path.readlink()}"
            elif path.is_file():
                digests[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def _below(path: str, roots: Sequence[str]) -> bool:
    return any(path == root or path.startswith(root + os.sep) for root in roots)


def _first(before: dict[str, str], after: dict[str, str]) -> str:
    return next(path for path in {**before, **after} if before.get(path) != after.get(path))


def _of(arguments: Sequence[str], wrong: str, layout: Layout | None = None) -> str:
    """Return a fault with the command, and the end of what it wrote where that is to be read."""
    text = f"{wrong} (madpipe {printable(shlex.join(arguments))})"
    if layout is None:
        return text
    errors = " | ".join(_text(layout.stream("stderr")).strip().splitlines()[-3:])
    return f"{text}: {errors[-_QUOTED:]}"


def printable(text: str, longest: int = 400) -> str:
    """Return a text that a ledger can hold, cut where it is long."""
    return text[:longest].encode("utf-8", "backslashreplace").decode()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
