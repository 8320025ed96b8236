"""Names of classes as programs write them down: lists, and mappings to or from numbers."""

import ast
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import texts

FORMS = (
    "give a name in each line, perhaps numbered, or JSON: a list, {name: number} as ImageFolder's "
    "class_to_idx, or {number: name} from 0 on, or YAML with names"
)
_NUMBERED = (
    re.compile(r"(?P<number>\d+)[.)]?[\s,:;]+(?P<name>.+)"),
    re.compile(r"(?P<name>.+?)[\s,:;]+(?P<number>\d+)"),
)
_LONGEST_LINE = 1_000
"""Of a line with a number and a name, in characters; searching one takes as long as its square."""
_WNID = re.compile(r"(n\d{8})[\s,]+(.+)")
"""As ImageNet's LOC_synset_mapping.txt: the folder and its name."""
_HEADS = {"class", "classes", "class_name", "name", "names", "label", "labels", "category"}
_YAML = re.compile(r"^names:[ ]*(?:(\[[^]]*\]|\{[^}]*\})|\n((?:[ \t-].*(?:\n|$))+))", re.MULTILINE)
"""The names in a YOLO data.yaml, in brackets or one a line."""

_KEYS = (
    "classes", "class_names", "label_names", "idx_to_class", "class_to_idx", "id2label", "label2id",
    "categories", "labels", "names",
)  # fmt: skip
"""Usual names of such a list in a checkpoint or a config.json of a hub."""


def ordered(content: Any) -> list[tuple[str, ...]] | None:
    """Return the names of each class by its number, None where `content` has another form.

    It is a list of names or of lists of names, {name: number}, {number: name} or {number: names}.
    """
    if isinstance(content, Mapping):
        if content and all(type(value) is int for value in content.values()):
            pairs = [(str(number), name) for name, number in content.items()]
        else:
            pairs = [(str(number), names) for number, names in content.items()]
            if _are_numbers(name for _, name in pairs) and not _are_numbers(content):
                pairs = [(name, number) for number, name in pairs]
        by_number = dict(pairs)
        numbers = [str(number) for number in range(len(pairs))]
        if by_number.keys() != set(numbers):
            return None
        content = [by_number[number] for number in numbers]
    if not isinstance(content, list | tuple) or not content:
        return None
    entries = [tuple(e) if isinstance(e, list | tuple) else (e,) for e in content]
    is_named = all(entry and all(isinstance(name, str) for name in entry) for entry in entries)
    return entries if is_named else None


def inside(content: Any, depth: int = 2) -> list[tuple[str, ...]] | None:
    """Return the names of classes under a usual key of a mapping or of those in it, or None."""
    if not isinstance(content, Mapping):
        return None
    for key in _KEYS:
        if key in content and (entries := ordered(content[key])):
            return entries
    inner = (inside(value, depth - 1) for value in content.values()) if depth else ()
    return next(filter(None, inner), None)


def read(file: Path, fault: Callable[[str], Exception]) -> list[tuple[str, ...]]:
    """Return the names of each class in a file: a line each, perhaps numbered, JSON or YAML.

    Raises the error that `fault` makes of what is wrong.
    """
    try:
        text = texts.decode(file.read_bytes())
    except UnicodeDecodeError as error:
        raise fault(f"is no text in UTF-8 or UTF-16 ({file})") from error
    except OSError as error:
        raise fault(f"cannot be read ({file}: {error.strerror})") from error
    suffix = file.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        content = _of_yaml(text)
    elif suffix == ".json" or text.lstrip().startswith(("[", "{")):
        content = _literal(text)
    else:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        try:
            content = _of_lines(lines, is_table=suffix in {".csv", ".tsv"})
        except csv.Error as error:
            raise fault(f"is no table ({file}: {error})") from error
    entries = ordered(content) or inside(content)
    if entries is None:
        raise fault(f"holds no names of classes numbered from 0 on ({file})")
    return entries


def _literal(text: str) -> Any:
    """Return what JSON or a value printed by Python says, None where it is neither."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _of_yaml(text: str) -> Any:
    match = _YAML.search(text)
    if match is None:
        return None
    if match[1]:
        cells = [cell.strip().strip("'\"") for cell in match[1].strip("[]").split(",")]
        return _literal(match[1]) or [cell for cell in cells if cell]
    lines = [line.strip().removeprefix("- ") for line in match[2].splitlines() if line.strip()]
    numbered = _numbered([line.replace("'", "").replace('"', "") for line in lines])
    return numbered or [line.strip(" '\"") for line in lines]


def _of_lines(lines: Sequence[str], *, is_table: bool) -> Sequence[Any]:
    """Return the names in lines, or in the only line; without the names of columns."""
    words = re.split(r"\W+", lines[0].lower()) if lines else []
    has_head = not _HEADS.isdisjoint(words) and not any(map(str.isdecimal, words))
    if numbered := _numbered(lines) or (_numbered(lines[1:]) if has_head else None):
        return numbered
    if lines and all(map(_WNID.fullmatch, lines)):
        return [match.groups() for match in map(_WNID.fullmatch, lines) if match]
    rows = _cells(lines)
    if len(rows) == 1:
        return rows[0]
    names = [row[0] for row in rows] if all(len(row) == 1 for row in rows) else lines
    return names[1:] if is_table and names and names[0].lower() in _HEADS else names


def _cells(lines: Sequence[str]) -> list[list[str]]:
    """Return the cells of a table, without quotes and without empty ones at the end."""
    delimiter = next((mark for mark in "\t;" if any(mark in line for line in lines)), ",")
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    return [re.split("\0+", "\0".join(map(str.strip, row)).rstrip("\0")) for row in rows]


def _numbered(lines: Sequence[str]) -> list[str] | None:
    """Return the names by their numbers, from 0 or 1 on, where each line has one."""
    for pairs in _pairings(lines):
        numbers = [number for text, _ in pairs if (number := texts.whole_number(text)) is not None]
        if pairs and len(numbers) == len(pairs):
            by_number = {number: name for number, (_, name) in zip(numbers, pairs, strict=True)}
            first = min(by_number)
            is_whole = first <= 1 and sorted(by_number) == list(range(first, first + len(lines)))
            if is_whole and len(set(by_number.values())) == len(lines):
                return [by_number[number] for number in sorted(by_number)]
    return None


def _pairings(lines: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Yield every way to read each line as a number and a name."""
    rows = _cells(lines)
    if all(len(row) == 2 for row in rows):  # noqa: PLR2004
        yield [(first, second) for first, second in rows]
        yield [(second, first) for first, second in rows]
    if any(len(line) > _LONGEST_LINE for line in lines):
        return
    for form in _NUMBERED:
        matches = [match for line in lines if (match := form.fullmatch(line))]
        if len(matches) == len(lines):
            yield [(match["number"], match["name"]) for match in matches]


def _are_numbers(names: Iterable[Any]) -> bool:
    return all(str(name).isdecimal() for name in names)
