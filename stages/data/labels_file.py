"""Labels in a table, or in one list for each part, beside images that lie in no class folders.

A table is a CSV with a column of file names and one of classes, and perhaps one of parts; a list
is what torchvision's sets come with, `path` or `path label` in a line of train.txt and test.txt.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StageError
from stages.data import parts, tree
from stages.data.tree import LeftOut, some

_SUFFIXES = {".csv", ".tsv", ".txt"}
_FOLDERS = ("", "meta", "labels", "splits", "split", "lists", "annotations")
_CLASS_COLUMNS = (
    "label", "class", "class_name", "classname", "label_name", "category", "category_name",
    "target", "species", "breed", "class_id", "label_id", "y",
)  # fmt: skip
_PART_COLUMNS = ("split", "set", "subset", "partition", "part", "phase", "fold")
_SAMPLE = 50


class Labelled(NamedTuple):
    """The images of a part and the name of the class of each."""

    paths: list[str]
    names: list[str]


class Table(NamedTuple):
    """What the tables of a data set say."""

    train: Labelled
    """All images where nothing says which are held out."""
    held_out: Labelled
    source: str
    """Which files and columns, for a note."""


_Row = tuple[str, str, str | None]
"""Path, class and, where a column says so, part of an image."""


def of_folder(root: Path, named: str, *, has_classes: bool, left_out: LeftOut) -> Table | None:
    """Return what tables in `root` say of its images, None where there is none to go by.

    Args:
        root: The folder of the data set.
        named: The file that the settings name, relative to it; empty: looked for.
        has_classes: There are class folders too; then lists of both parts alone count.
        left_out: Receives what is no image.

    Raises:
        StageError: The file is absent, or does not say which class the images are of.
    """
    if named:
        if not (root / named).is_file():
            wrong = f"no such file in data.root ({root / named})"
            raise StageError("data.labels", wrong, "correct the name")
        index = _Index(root, tree.image_files(root, left_out))
        return _table({root / named: _read(root / named, index)})
    folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
    groups = [sorted(f for f in x.iterdir() if f.suffix.lower() in _SUFFIXES) for x in folders]
    candidates = [files for group in groups if (files := _lists(group, has_classes=has_classes))]
    if not candidates:
        return None
    index = _Index(root, tree.image_files(root, left_out))
    for files in candidates:
        tables = {file: rows for file in files if (rows := _read(file, index))}
        lists = parts.pick(file.stem for file in tables)
        if len(tables) > 1 and None in lists:
            wrong = f"has several files that may hold the labels ({some(f.name for f in tables)})"
            raise StageError("data.root", wrong, "name one in data.labels")
        if tables and (all(lists) or not has_classes):
            return _table(tables)
    return None


def _table(tables: dict[Path, list[_Row]]) -> Table:
    train, held_out = Labelled([], []), Labelled([], [])
    for file, rows in tables.items():
        of_file = parts.kind_of(file.stem) if len(tables) > 1 else None
        for path, name, kind in rows:
            part = train if (kind or of_file or parts.TRAIN) == parts.TRAIN else held_out
            part.paths.append(path)
            part.names.append(name)
    return Table(train, held_out, some(file.name for file in tables))


def _lists(files: list[Path], *, has_classes: bool) -> list[Path]:
    """Return the lists of both parts where they are there, else what may be one table of all."""
    by_stem = {file.stem: file for file in files}
    train, held_out = parts.pick(by_stem)
    if train and held_out:
        return [by_stem[train], by_stem[held_out]]
    if has_classes:
        return []
    return [by_stem[train]] if train else [f for f in files if f.suffix != ".txt"] or files


class _Index:
    """The images of a folder by every name that a table may call them."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        """Remember the images by their paths from `root`, and by the ends of these."""
        self._exact = {Path(path).relative_to(root).as_posix(): path for path in paths}
        self._ends: dict[str, str | None] = {}
        for name, path in self._exact.items():
            pieces = name.split("/")
            for start in range(len(pieces)):
                end = "/".join(pieces[start:])
                for key in (end, end.rpartition(".")[0]):
                    self._ends[key] = None if key in self._ends else path

    def path_of(self, name: str) -> str | None:
        """Return the image that a table means by `name`, None where that is not one image.

        With folders before it that are not here, as those of another machine, or with fewer.
        """
        name = name.strip().replace("\\", "/").removeprefix("./")
        if name in self._exact:
            return self._exact[name]
        while name and name not in self._ends:
            name = name.partition("/")[2]
        return self._ends.get(name)


def _read(file: Path, index: _Index) -> list[_Row]:
    """Return the rows of a table of labels; none where it is no table of these images.

    StageError where only some rows name images, or it is not clear where the classes stand.
    """
    rows = _rows(file)
    sample = rows[1 : _SAMPLE + 1] or rows[:1]
    hits = [
        sum(bool(index.path_of(row[column])) for row in sample if column < len(row))
        for column in range(max(map(len, rows), default=0))
    ]
    if not any(hits):
        return []
    of_file = hits.index(max(hits))
    has_header = index.path_of(rows[0][of_file]) is None and len(rows) > 1
    header = [cell.strip().lower() for cell in rows[0]] if has_header else []
    rows = rows[1:] if has_header else rows
    of_part = next((header.index(name) for name in _PART_COLUMNS if name in header), None)
    of_class = _class_column(file, header, rows, {of_file, of_part})
    if of_class is None and not all("/" in row[of_file] for row in rows):
        return []  # as the list of a part whose labels are not published
    labelled, absent = [], []
    for row in rows:
        path = index.path_of(row[of_file]) if of_file < len(row) else None
        if path is None or (of_class is not None and not row[of_class : of_class + 1]):
            absent.append(",".join(row))
            continue
        name = row[of_file].split("/")[-2] if of_class is None else row[of_class].strip()
        part = parts.kind_of(row[of_part]) if of_part is not None else None
        labelled.append((path, name, part))
    if absent:
        raise StageError(
            str(file),
            f"{len(absent)} of {len(rows)} rows name no image of data.root with a class "
            f"({some(absent)})",
            "correct or remove them",
        )
    return labelled


def _class_column(
    file: Path, header: list[str], rows: list[list[str]], others: set[int | None]
) -> int | None:
    """Return the column of the classes; None where there is no other column than the images'."""
    if known := [header.index(name) for name in _CLASS_COLUMNS if name in header]:
        return known[0]
    left = [column for column in range(len(rows[0])) if column not in others]
    if len(left) > 1:
        names = [header[column] if header else f"column {column + 1}" for column in left]
        raise StageError(
            str(file),
            f"has several columns that may hold the classes ({some(names)})",
            'call that of the classes "label" in a first line, or leave the others out',
        )
    return left[0] if left else None


def _rows(file: Path) -> list[list[str]]:
    """Return the cells of a table whose columns are parted by commas, semicolons, tabs or blanks.

    StageError where it is no text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(str(file), "is no text in UTF-8 (labels)", "save it as UTF-8") from error
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = next((mark for mark in "\t,;" if mark in first), None)
    if delimiter is None:
        split = [line.strip().rsplit(maxsplit=1) for line in lines]
        is_pair = all(len(row) == 1 or row[1].isdecimal() for row in split if row)
        return [row if is_pair else [" ".join(row)] for row in split if row]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [row for row in rows if any(map(str.strip, row))]
