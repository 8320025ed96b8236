"""The cells of a table: text with columns, or JSON as data sets come with it.

Knows nothing of images but a function that says which cells name one.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import stored_files, texts
from pipeline.errors import StageError

_DELIMITERS = "\t,;|"
_JSON = {".json", ".jsonl"}


def read(file: Path, names_image: Callable[[str], bool]) -> list[list[str]]:
    """Return the rows of a table, all of as many cells.

    Columns are parted by tabs, commas, semicolons, bars or blanks; or it is JSON.

    Args:
        file: The table.
        names_image: Whether a cell names an image, which says how a line with blanks is parted.

    Raises:
        StageError: It is no text.
    """
    rows = _rows(file, names_image)
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]


def _rows(file: Path, names_image: Callable[[str], bool]) -> list[list[str]]:
    try:
        text = texts.decode(file.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(str(file), "is no text in UTF-8 (labels)", "save it as UTF-8") from error
    if file.suffix.lower() in _JSON:
        return [[_cell(cell) for cell in row] for row in _of_json(text)]
    lines = text.splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith("#")):
        del lines[0]
    delimiter = next((mark for mark in _DELIMITERS if lines and mark in lines[0]), None)
    if delimiter is None:
        return _of_words([line.strip() for line in lines if line.strip()], names_image)
    content = io.StringIO("\n".join(lines), newline="")
    cells = csv.reader(content, delimiter=delimiter, skipinitialspace=True)
    try:
        return [row for row in cells if any(map(str.strip, row))]
    except csv.Error as error:
        remedy = "correct the quotes around its cells"
        raise StageError(str(file), f"is no table ({error})", remedy) from error


def _of_words(lines: Sequence[str], names_image: Callable[[str], bool]) -> list[list[str]]:
    """Return lines parted by blanks: image and class, perhaps more numbers, or number and image."""
    pairs = [line.rsplit(maxsplit=1) for line in lines]
    if _most(len(pair) > 1 and names_image(pair[0]) for pair in pairs):
        return pairs
    words = [line.split() for line in lines]
    if _most(len(row) > 2 and names_image(row[0]) for row in words):  # noqa: PLR2004
        return [row[:2] for row in words]
    numbered = [line.split(maxsplit=1) for line in lines]
    if _most(len(row) > 1 and row[0].isdecimal() and names_image(row[1]) for row in numbered):
        return [row[1:] for row in numbered]
    return [[line] for line in lines]


def _most(truths: Iterable[bool]) -> bool:
    listed = list(truths)
    return 2 * sum(listed) > len(listed)


def _cell(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        return _cell(value[0])
    return "" if value is None else str(value)


def _of_json(text: str) -> list[list[Any]]:
    """Return rows of what says images and their classes, none where it is something else."""
    try:
        content = stored_files.loads(text)
    except ValueError:
        try:
            content = [stored_files.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            return []
    if isinstance(content, Mapping):
        if isinstance(content.get("annotations"), list):
            return _of_coco(content)
        if len(content) == 1 and not isinstance(next(iter(content.values())), str):
            (content,) = content.values()  # as {"labels": ...}
    if isinstance(content, Mapping):
        lists = all(isinstance(value, list) for value in content.values())
        pairs = [(n, k) for k, names in content.items() for n in names] if lists else None
        return [list(pair) for pair in pairs or content.items()]
    if not isinstance(content, list) or not content:
        return []
    if all(isinstance(record, Mapping) for record in content):
        names = list(dict.fromkeys(name for record in content for name in record))
        return [names, *([record.get(name) for name in names] for record in content)]
    return [row for row in content if isinstance(row, list)]


def _of_coco(content: Mapping[str, Any]) -> list[list[Any]]:
    """Return the image, number and name of the class of each annotation of a COCO file."""
    try:
        files = {image["id"]: image["file_name"] for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        rows = [
            [files[item["image_id"]], item["category_id"], names[item["category_id"]]]
            for item in content["annotations"]
        ]
    except (KeyError, TypeError):
        return []
    return [["file_name", "label_id", "label"], *rows]
