"""What a command owes where storage failed: its exit code, its message, a store that is whole."""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability.small_project import Ended
from pipeline.cache.entry import damage_of
from pipeline.cache.store import Store

_FOREIGN = re.compile(r"Traceback|\[Errno|\b[A-Z]\w*(Error|Exception)\b|unexpected|enforce fail")
_FAILED = 1
_URL = "file://"


class Kept(NamedTuple):
    """The digests of all files of the entries that a store has."""

    files: dict[str, str]


def kept(home: Path) -> Kept:
    """Return what a working folder holds of finished stages."""
    paths = (path for path in (home / "entries").glob("*/*/*") if path.is_file())
    return Kept({str(p.relative_to(home)): _sha256(p) for p in sorted(paths)})


def store_fault(home: Path, before: Kept, *, given_up: str | None = None) -> str:
    """Return what of a store was lost, changed or is half there; empty where nothing was.

    An entry of the name `given_up` was to be removed, and may be half there.
    """
    for name, digest in before.files.items():
        if not (home / name).is_file():
            return f"{name} was stored before and is lost"
        if _sha256(home / name) != digest:
            return f"{name} was stored before and has other bytes now"
    for path, lookup in Store(home).entries():
        wrong = damage_of(lookup.entry) if lookup.entry is not None else lookup.damage
        if wrong and path.name != given_up:
            return f"entry {path.relative_to(home)}: {wrong}"
    return ""


def message_fault(ended: Ended, folder: Path, paths: Collection[Path] = ()) -> str:
    """Return what the end of a failed command lacks; empty where it is as it has to be.

    Its exit code is 1, and its message is one line, `place: what is wrong; what to do`, in which
    the place is one of `paths`, or a file or folder that a failed call was on the way to; without
    any it is one below `folder`, in which the command ran.
    """
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    text = " / ".join(lines)[-600:]
    if ended.code != _FAILED:
        return f"exit code {ended.code}, expected 1: {text}"
    if foreign := _FOREIGN.search(ended.stdout + ended.stderr):
        return f"foreign text ({foreign.group()}): {text}"
    if len(lines) != 1:
        return f"{len(lines)} lines on standard error, expected 1: {text}"
    place, _, rest = lines[0].partition(": ")
    if ";" not in rest:
        return f"the message does not say what to do: {text}"
    failed = [place for path in paths for place in _places(path)]
    names = {name for path in failed for name in _names(path)}
    if place.startswith(_URL):  # of a shared cache, which is named as a whole
        shared = place.removeprefix(_URL)
        names, place = {shared} if any(p.is_relative_to(shared) for p in paths) else {""}, shared
    path = str(folder / place)
    is_named = path != str(folder) and path.startswith(str(folder))
    if names:
        is_named = path in names or any(path.startswith(f"{_final(p)}/") for p in failed)
    return "" if is_named else f"the message does not name the path: {text}"


def left_behind(home: Path) -> str:
    """Return what a run that ended well leaves and should not; empty where there is nothing."""
    # What a finished stage leaves of its work where it could not be removed goes by cache gc.
    work = [
        path
        for path in (home / "work").glob("*/*")
        if not (home / "entries" / path.parent.name / path.name).is_dir()
    ]
    if work:
        return f"{work[0].relative_to(home)} is left behind"
    parts = [path for path in home.rglob("*.part") if path.is_file() and "work" not in path.parts]
    return f"{parts[0].relative_to(home)} is left behind" if parts else ""


def _places(path: Path) -> list[Path]:
    """Return where a message may say that a path is.

    The folder of a sweep's job does not stay: a message names the place in the working folder to
    which its files come back.
    """
    jobs = [folder for folder in path.parents if folder.parent.name == "sweep"]
    return [path, *(folder.parents[1] / path.relative_to(folder) for folder in jobs)]


def _names(path: Path) -> set[str]:
    """Return what a message may call a path: itself, what it becomes, and the folder it is in.

    The work of a stage and the folder of a sweep's job are removed as a whole, and may be named so;
    an entry that is to be moved to the work is what cannot be moved.
    """
    jobs = {folder for folder in path.parents if folder.parent.name == "sweep"}
    work = {folder for folder in path.parents if folder.parent.parent.name == "work"}
    entries = {folder.parents[2] / "entries" / folder.parent.name / folder.name for folder in work}
    names = {path, path.parent, _final(path), _final(path).parent} | work | jobs
    return {str(name) for name in names | (entries if path.name == "replaced" else set())}


def _final(path: Path) -> Path:
    """Return what becomes of a path once nothing of it is a part."""
    return Path(*(re.sub(r"(\.[0-9a-f]+)?(\.replaced)?\.part$", "", part) for part in path.parts))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
