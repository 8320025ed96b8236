"""Edits of files that look as if nothing had happened: size and time stay what they were."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.cache_hits.projects import LONG_AGO_NS

Edit = Callable[[Path], None]
"""Makes a change in a project's folder."""
COPY = "another folder"
"""Beside a project: where `copied_project` puts it."""


def one_byte(name: str) -> Edit:
    """Return what changes the last byte of a file, and puts its time back."""

    def edit(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        _rewrite(folder / name, bytes(content))

    return edit


def text(name: str, old: str, new: str) -> Edit:
    """Return what replaces a text in a file, and puts its time back."""

    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old.encode() in content, f"{name} does not hold {old}"
        _rewrite(folder / name, content.replace(old.encode(), new.encode()))

    return edit


def new_file(name: str, content: bytes = b"any") -> Edit:
    """Return what writes a file that is as old as the others."""

    def edit(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for changed in (path, path.parent):
            os.utime(changed, ns=(LONG_AGO_NS, LONG_AGO_NS))

    return edit


def new_folder(name: str) -> Edit:
    """Return what makes an empty folder."""

    def edit(folder: Path) -> None:
        (folder / name).mkdir()

    return edit


def moved(old: str, new: str) -> Edit:
    """Return what renames a file or folder."""

    def edit(folder: Path) -> None:
        (folder / old).rename(folder / new)

    return edit


def removed(name: str) -> Edit:
    """Return what removes a file."""

    def edit(folder: Path) -> None:
        (folder / name).unlink()

    return edit


def copied(old: str, new: str) -> Edit:
    """Return what copies a file or folder, with its times."""

    def edit(folder: Path) -> None:
        if (folder / old).is_dir():
            shutil.copytree(folder / old, folder / new)
        else:
            shutil.copy2(folder / old, folder / new)

    return edit


def replaced(name: str, *, is_same: bool = False) -> Edit:
    """Return what puts another file of equal size and time in the place of one."""

    def edit(folder: Path) -> None:
        other = f"{name}.new"
        shutil.copy2(folder / name, folder / other)
        if not is_same:
            one_byte(other)(folder)
        (folder / other).replace(folder / name)

    return edit


def linked(name: str, target: str) -> Edit:
    """Return what makes a link, in the place of the one that is there."""

    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder / target)
        os.utime(folder / name, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)

    return edit


def together(*edits: Edit) -> Edit:
    """Return what makes several edits, one after the other."""

    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def nothing(_folder: Path) -> None:
    """Change nothing."""


def touched(folder: Path) -> None:
    """Let every file be as new as can be."""
    for path in folder.rglob("*"):
        if not path.is_symlink() and ".madpipe" not in path.parts:
            os.utime(path)


def read_only(folder: Path) -> None:
    """Take the right to write an image away."""
    (folder / "photos" / "0.bmp").chmod(0o444)


def written_otherwise(folder: Path) -> None:
    """Write the settings with another layout: order of tables, remarks, forms of numbers."""
    path = folder / "pipeline.toml"
    tables = re.split(r"(?m)^(?=\[)", path.read_text(encoding="utf-8"))
    lines = "\n# a remark\n".join(reversed(tables))
    lines = lines.replace(" = 8\n", "   =   0x8   # a remark\n")
    path.write_text(lines.replace('"folder"', "'folder'"), encoding="utf-8")


def copied_project(folder: Path) -> None:
    """Copy the project to another folder, where it is looked at then."""
    shutil.copytree(folder, folder.with_name(COPY), symlinks=True)


def _rewrite(path: Path, content: bytes) -> None:
    """Write a file anew with the time that it had."""
    written_ns = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(written_ns, written_ns))
