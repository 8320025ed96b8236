"""Whether a weights file is a program, a network that needs no code, by its content. Light."""

import re
import zipfile
from pathlib import Path
from typing import Literal

ProgramKind = Literal["onnx", "torchscript", "pt2"]
PREFIX = "file:"
"""Of the architecture of a network that its file computes by itself: `file:onnx`."""
CONTENT = "content"
"""Under this name the file stands among the tensors of a weights file."""
_HEAD_BYTES = 64
_ONNX = re.compile(rb"\x08.\x12.[A-Za-z][\w.\- ]*[\x1a:\x22\"]", re.DOTALL)
"""Version and producer, with which exporters begin."""
_GRAPH = re.compile(r"(^|/)(models/[^/]+|serialized_exported_program)\.json$")
_LOCATION = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
_LARGEST_BYTES = 256 << 20
"""A file whose weights lie beside it is small."""


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
    if program_kind(path) != "onnx" or path.stat().st_size > _LARGEST_BYTES:
        return ()
    content = path.read_bytes()
    names = {
        content[match.end() : match.end() + match[1][0]].decode(errors="replace")
        for match in _LOCATION.finditer(content)
    }
    # Names of other folders are refused where the file is read.
    return tuple(sorted(name for name in names if name == Path(name).name))


def kind_of(arch: str) -> ProgramKind | None:
    """Return the kind of program that an architecture stands for, None for any other."""
    kind = arch.removeprefix(PREFIX)
    if arch == kind:
        return None
    for known in ("onnx", "torchscript", "pt2"):
        if kind == known:
            return known
    return None
