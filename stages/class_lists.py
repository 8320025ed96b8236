"""Names of classes as programs write them down: lists, and mappings to or from numbers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FORMS = (
    "give a name in each line, or JSON: a list, {name: number} as ImageFolder's class_to_idx, or "
    "{number: name}"
)
_NUMBERED = (
    re.compile(r"(?P<number>\d+)[\s,:;]+(?P<name>.+)"),
    re.compile(r"(?P<name>.+?)[\s,:;]+(?P<number>\d+)"),
)

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
    """Return the names of each class in a file: a line each, perhaps numbered, or JSON.

    Raises the error that `fault` makes of what is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        is_json = file.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{"))
        content: Any = json.loads(text) if is_json else None
    except (OSError, ValueError) as error:
        raise fault(f"cannot be read ({file})") from error
    if content is None:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        content = _numbered(lines) or lines
    entries = ordered(content) or inside(content)
    if entries is None:
        raise fault(f"holds no names of classes numbered from 0 on ({file})")
    return entries


def _numbered(lines: Sequence[str]) -> dict[int, str] | None:
    """Return the lines by their numbers where each has one, before or after the name."""
    for form in _NUMBERED:
        matches = [match for line in lines if (match := form.fullmatch(line))]
        by_number = {int(match["number"]): match["name"] for match in matches}
        is_whole = sorted(by_number) == list(range(len(lines)))
        if is_whole and len(set(by_number.values())) == len(lines):
            return by_number
    return None
