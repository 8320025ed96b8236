"""Names of classes as programs write them down: lists, and mappings to or from numbers."""

from collections.abc import Mapping
from typing import Any

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
