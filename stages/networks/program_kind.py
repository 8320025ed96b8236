"""Whether a weights file is a program, a network that needs no code, by its content. Light."""

import mmap
import re
import zipfile
from pathlib import Path
from typing import get_args

from models.programs.kinds import ProgramKind

PREFIX = "file:"
"""Of the architecture of a network that its file computes by itself: `file:onnx`."""
_HEAD_BYTES = 64
_ONNX = re.compile(rb"\x08.\x12.[A-Za-z][\w.\- ]*[\x1a:\x22\"]", re.DOTALL)
"""Version and producer, with which exporters begin."""
_GRAPH = re.compile(r"(^|/)(models/[^/]+|serialized_exported_program)\.json$")
_LOCATION = re.compile(rb"\n\x08location\x12([\x80-\xff]?)([\x00-\x7f])")
"""The key of a name in an ONNX file, and its length in one or two bytes of seven bits."""


def program_kind(path: Path) -> ProgramKind | None:
    """Return the kind of program that a file is, None for weights and for files that are not there.

    The name decides for `.onnx` alone, since its content has no mark that all writers leave.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                return _archive_kind(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return None
    is_other = head[4:9] == b"\0\0\0\0{" or head[:1] == b"\x80"
    return "onnx" if not is_other and (path.suffix == ".onnx" or _ONNX.match(head)) else None


def _archive_kind(names: list[str]) -> ProgramKind | None:
    if any(_GRAPH.search(name) for name in names):
        return "pt2"
    ends = {name.rpartition("/")[2] for name in names}
    is_script = "constants.pkl" in ends and any("/code/" in name for name in names)
    return "torchscript" if is_script else None


def beside(path: Path) -> tuple[str, ...]:
    """Return the names of the files in its folder in which an ONNX file keeps its weights."""
    if program_kind(path) != "onnx":
        return ()
    names = set()
    # Mapped, not read: a file with its weights inside may be large.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _LOCATION.finditer(content):
            low, high = match[1], match[2][0]
            length = (low[0] & 0x7F) + (high << 7) if low else high
            names.add(content[match.end() : match.end() + length].decode(errors="replace"))
    # Names of other folders are refused where the file is read.
    return tuple(sorted(name for name in names if name == Path(name).name))


def kind_of(arch: str) -> ProgramKind | None:
    """Return the kind of program that an architecture stands for, None for any other."""
    kinds: tuple[ProgramKind, ...] = get_args(ProgramKind)
    return next((kind for kind in kinds if arch == PREFIX + kind), None)
