"""Which columns of a table say the classes, their order and the parts of a data set."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.errors import StageError
from stages.data import parts
from stages.data.tree import some

_CLASS_COLUMNS = (
    "label", "labels", "class", "classes", "class_name", "classname", "label_name", "category",
    "category_name", "target", "species", "breed", "variety", "diagnosis", "dx", "class_id",
    "label_id", "category_id", "class_idx", "label_idx", "class_index", "y",
)  # fmt: skip
_PART_COLUMNS = ("split", "set", "subset", "partition", "part", "phase", "usage", "fold")
_HELD_OUT_COLUMNS = ("is_valid", "is_val", "is_validation", "is_test")
_IS_HELD_OUT = dict.fromkeys(("true", "1", "yes"), "val") | dict.fromkeys(
    ("false", "0", "no"), parts.TRAIN
)
_MISSING = {"", "nan"}


class Classes(NamedTuple):
    """The class of each row."""

    names: list[str]
    """Empty where a row says none."""
    order: tuple[str, ...] = ()
    """All classes in the order that the table gives them, empty where it gives none."""


class Columns:
    """The columns of a table, by number and by the names in its first line."""

    def __init__(self, place: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Name the table in messages by `place`; `header` is empty where it has none."""
        self._place = place
        self._header = list(header)
        self._known = [name.lower() for name in header]
        self._rows = rows

    def _cells(self, column: int) -> list[str]:
        return [row[column].strip() for row in self._rows]

    def parts_of_rows(self) -> tuple[list[str | None], tuple[str, ...]]:
        """Return the part of each row, None where no column says it, and notes.

        Raises:
            StageError: A column says it, with words of which some are no parts.
        """
        for name in (*_PART_COLUMNS, *_HELD_OUT_COLUMNS):
            if name not in self._known:
                continue
            cells = self._cells(self._known.index(name))
            of_rows = [_kind_of(cell, name) for cell in cells]
            unknown = sorted({cell for cell, kind in zip(cells, of_rows, strict=True) if not kind})
            if not unknown:
                return of_rows, ()
            if any(of_rows):
                wrong = f"has words that name no part in its column {name} ({some(unknown)})"
                raise StageError(self._place, wrong, "write train, val or test in every row")
            note = f"its column {name} names no train, val or test and is left out"
            return of_rows, (f"{note} ({some(unknown)})",)
        return [None] * len(self._rows), ()

    def classes_of_rows(self, of_file: int) -> Classes | None:
        """Return the class of each row, None where there is no other column than the images'.

        Raises:
            StageError: Several columns may hold them, or several
                have a 1 in one row.
        """
        parts_too = {*_PART_COLUMNS, *_HELD_OUT_COLUMNS}
        known = [self._known.index(name) for name in _CLASS_COLUMNS if name in self._known]
        width = len(self._rows[0])
        left = [
            column
            for column in range(width)
            if column != of_file and (self._known[column : column + 1] or [""])[0] not in parts_too
        ]
        if not known:
            if len(left) > 1:
                return self._of_one_hot(left)
            known = left
        if not known:
            return None
        names = _as_names(self._cells(known[0]))
        for column in known[1:]:
            others = _as_names(self._cells(column))
            first, second = (names, others) if _numbers(others) else (others, names)
            if not _numbers(second) or _numbers(first):
                continue
            number_of = dict(zip(first, map(int, second), strict=True))
            if len(set(zip(first, second, strict=True))) == len(number_of) == len(set(second)):
                return Classes(first, tuple(sorted(number_of, key=lambda name: number_of[name])))
        return Classes(names)

    def _of_one_hot(self, left: Sequence[int]) -> Classes:
        """Return the classes where each has a column of its own, with 1 in the rows that are it."""
        by_column = [_as_names(self._cells(column)) for column in left]
        if not self._header or not all(set(cells) <= {"0", "1"} for cells in by_column):
            names = [self._header[c] if self._header else f"column {c + 1}" for c in left]
            raise StageError(
                self._place,
                f"has several columns that may hold the classes ({some(names)})",
                'call that of the classes "label" in a first line, or leave the others out',
            )
        names = []
        for row in zip(*by_column, strict=True):
            if row.count("1") > 1:
                wrong = f"names several classes of one image ({','.join(row)})"
                raise StageError(self._place, wrong, "leave one class for each image")
            names.append(self._header[left[row.index("1")]] if "1" in row else "")
        return Classes(names, tuple(self._header[column] for column in left))


def _as_names(cells: Sequence[str]) -> list[str]:
    """Return names of classes: empty where missing; 1 for 1.0 where all are such numbers."""
    names = ["" if cell.lower() in _MISSING else cell for cell in cells]
    whole = [name.removesuffix(".0") for name in names]
    return whole if all(not name or name.isdecimal() for name in whole) else names


def _kind_of(cell: str, column: str) -> str | None:
    if column in _HELD_OUT_COLUMNS:
        return _IS_HELD_OUT.get(cell.lower())
    return parts.kind_of(cell)


def _numbers(names: Sequence[str]) -> bool:
    return all(map(str.isdecimal, names))
