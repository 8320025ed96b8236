"""Labels in a table, or in one list for each part, beside images that lie in no class folders.

A table is a CSV with a column of file names and one of classes, and perhaps one of parts; a list
is what torchvision's sets come with, `path` or `path label` in a line of train.txt and test.txt.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StageError
from stages.data import parts, table_rows, tree
from stages.data.table_columns import Classes, Columns
from stages.data.tree import LeftOut, some

_FOLDERS = ("", "meta", "labels", "splits", "split", "lists", "annotations")
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
    order: tuple[str, ...]
    """The classes in the order that the table gives them, empty where it gives none."""
    notes: tuple[str, ...]


_Row = tuple[str, str, str | None]
"""Path, class and, where a column says so, part of an image."""


class _Labels(NamedTuple):
    """What one file says."""

    rows: list[_Row]
    order: tuple[str, ...]
    notes: tuple[str, ...]


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
        if labels := _read(root / named, index):
            return _table({root / named: labels}, index)
        raise StageError(
            "data.labels",
            f"names no image of data.root with its class ({root / named})",
            "give a column of file names and one of classes, or a path and a class in each line",
        )
    groups = _groups(root)
    candidates = [files for group in groups if (files := _lists(group, has_classes=has_classes))]
    if not candidates:
        return None
    index = _Index(root, tree.image_files(root, left_out))
    for files in candidates:
        tables = {file: labels for file in files if (labels := _read(file, index))}
        lists = parts.pick(_part_name(file, root) for file in tables)
        if len(tables) > 1 and None in lists:
            wrong = f"has several files that may hold the labels ({some(f.name for f in tables)})"
            raise StageError("data.root", wrong, "name one in data.labels")
        if tables and (all(lists) or not has_classes):
            return _table(tables, index)
        left_out.tables += [file.name for file in files if file.suffix != ".txt"]
    return None


def _groups(root: Path) -> list[list[Path]]:
    """Return the files beside one another that may hold labels; those in train/ and val/ last."""
    folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
    groups = [_tables_in(folder) for folder in folders]
    train, held_out, *_ = parts.of_folder(root)
    return [*groups, [f for part in (train, held_out) if part for f in _tables_in(part)]]


def _tables_in(folder: Path) -> list[Path]:
    names = sorted(file for file in folder.iterdir() if file.suffix.lower() in tree.TABLE_SUFFIXES)
    return [file for file in names if "submission" not in file.stem.lower()]


def _table(tables: Mapping[Path, _Labels], index: "_Index") -> Table:
    notes = [note for labels in tables.values() for note in labels.notes]
    by_kind: dict[str, Labelled] = {}
    for file, labels in tables.items():
        names = (file.stem, file.parent.name) if len(tables) > 1 else ()
        of_file = next(filter(None, map(parts.kind_of, names)), None)
        for path, name, kind in labels.rows:
            part = by_kind.setdefault(kind or of_file or parts.TRAIN, Labelled([], []))
            part.paths.append(path)
            part.names.append(name)
    train = by_kind.pop(parts.TRAIN, Labelled([], []))
    test = by_kind.pop("test", Labelled([], []))
    if (held_out := by_kind.get("val", test)) is not test and test.paths:
        notes.append(f"{len(test.paths)} images of test are left out, val is held out")
    if both := sorted({*train.paths} & {*held_out.paths}):
        notes.append(f"{len(both)} images are in both parts ({some(both)})")
    named = {*train.paths, *held_out.paths, *test.paths}
    if unnamed := [path for path in index.paths if path not in named]:
        notes.append(f"{len(unnamed)} images that no row names are left out ({some(unnamed)})")
    order = max((labels.order for labels in tables.values()), key=len)
    if not {*train.names, *held_out.names} <= set(order):
        order = ()
    return Table(train, held_out, some(file.name for file in tables), order, tuple(notes))


def _part_name(file: Path, root: Path) -> str:
    """Return the name that says of which part a list is: its own, or its folder's."""
    return file.stem if parts.kind_of(file.stem) or file.parent == root else file.parent.name


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
        self.paths = paths
        self._root = root
        self._exact = {_composed(Path(path).relative_to(root).as_posix()): path for path in paths}
        self._ends: dict[str, str | None] = {}
        for name, path in self._exact.items():
            pieces = name.split("/")
            for start in range(len(pieces)):
                end = "/".join(pieces[start:])
                for key in (end, end.rpartition(".")[0]):
                    self._ends[key] = None if key in self._ends else path

    def seen_from(self, file: Path) -> Callable[[str], str | None]:
        """Return what finds the image that a table means by a name, from its folder first."""
        is_inside = file.is_relative_to(self._root)
        near = file.parent.relative_to(self._root).as_posix() if is_inside else "."
        return self._path_of if near == "." else lambda name: self._path_of(f"{near}/{name}")

    def _path_of(self, name: str) -> str | None:
        """Return the image that a table means by `name`, None where that is not one image.

        With folders before it that are not here, as those of another machine, or with fewer; with
        another suffix where it was converted since.
        """
        name = _composed(name.strip().replace("\\", "/").removeprefix("./"))
        if name in self._exact:
            return self._exact[name]
        end = name
        while end and end not in self._ends:
            end = end.partition("/")[2]
        if not end and name.lower().endswith(tree.IMAGE_SUFFIXES):
            return self._path_of(name.rpartition(".")[0])
        return self._ends.get(end)


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _read(file: Path, index: _Index) -> _Labels | None:
    """Return what a table of labels says; None where it is no table of these images.

    Raises:
        StageError: Only some rows name an image and its class, an image has several, or it is
            not clear where the classes stand.
    """
    path_of = index.seen_from(file)
    rows = table_rows.read(file, lambda cell: path_of(cell) is not None)
    of_file = _file_column(rows, path_of)
    if of_file is None:
        return None
    has_header = path_of(rows[0][of_file]) is None and len(rows) > 1
    header = [cell.strip() for cell in rows[0]] if has_header else []
    rows = rows[1:] if has_header else rows
    columns = Columns(str(file), header, rows)
    kinds, notes = columns.parts_of_rows()
    classes = columns.classes_of_rows(of_file)
    if classes is None:
        if not all("/" in row[of_file] for row in rows):
            return None  # as the list of a part whose labels are not published
        classes = Classes([row[of_file].split("/")[-2] for row in rows])
    labelled: dict[str, _Row] = {}
    absent = []
    for row, name, kind in zip(rows, classes.names, kinds, strict=True):
        path = path_of(row[of_file])
        if path is None or not name:
            absent.append(",".join(row))
        elif labelled.setdefault(path, (path, name, kind)) != (path, name, kind):
            wrong = f"names several classes or parts of one image ({','.join(row)})"
            raise StageError(str(file), wrong, "leave one row for each image")
    if absent:
        raise StageError(
            str(file),
            f"{len(absent)} of {len(rows)} rows name no image of data.root with a class "
            f"({some(absent)})",
            "correct or remove them",
        )
    return _Labels(list(labelled.values()), classes.order, notes)


def _file_column(rows: Sequence[Sequence[str]], path_of: Callable[[str], str | None]) -> int | None:
    """Return the column that names most images, with their suffixes where two do; None if none."""
    sample = rows[1 : _SAMPLE + 1] or rows[:1]

    def hits(column: int) -> tuple[int, int]:
        cells = [row[column] for row in sample]
        named = {path: cell for cell in cells if (path := path_of(cell))}
        return len(named), sum("." in cell for cell in named.values())

    best = max(range(len(rows[0]) if rows else 0), key=hits, default=None)
    return best if best is not None and hits(best)[0] else None
