"""The teacher's classes: their order, and which of them the folders of a data set are.

Light but for reading a file. Labels count the folders by name until this says otherwise.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import StageError
from pipeline.paths import expanded
from pipeline.settings import Data
from pipeline.texts import as_utf8, whole_number
from stages import class_lists

NATURAL = "natural"
_PLACE = "data.classes"
_CONTROL = {"Cc", "Zl", "Zp"}
"""Categories of characters that would break or colour a line."""


def canonical(name: str) -> str:
    r"""Return a folder's name as that of a class, which fits into a line of text.

    In composed Unicode, as Macs do not write it; control characters as escapes, such as `\n`.
    """
    composed = unicodedata.normalize("NFC", as_utf8(name))
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CONTROL else c
        for c in composed
    )


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return what sorts class2 before class10."""
    pieces = re.split(r"(\d+)", name.lower())
    numbers = map(whole_number, pieces)
    return [
        (-1, piece) if number is None else (number, "")
        for number, piece in zip(numbers, pieces, strict=True)
    ]


def file_of(data: Data, folder: Path) -> Path | None:
    """Return the file that the settings name for the classes, relative to `folder`, or None."""
    is_file = isinstance(data.classes, str) and data.classes not in ("", NATURAL)
    return expanded(str(data.classes), folder) if is_file else None


def of_settings(data: Data, file: Path | None) -> list[tuple[str, ...]] | None:
    """Return the names of each class in the order of the teacher's outputs.

    Args:
        data: The settings.
        file: The file that they name, None where they name none.

    Raises:
        StageError: The file holds no names of classes, or one twice.
    """
    listed: list[tuple[str, ...]] = []
    if file is not None:
        listed = class_lists.read(file, lambda wrong: StageError(_PLACE, wrong, class_lists.FORMS))
    elif isinstance(data.classes, tuple):
        listed = [(name,) for name in data.classes]
    classes = [tuple(map(canonical, names)) for names in listed]
    firsts = [names[0] for names in classes]
    if twice := {name for name in firsts if firsts.count(name) > 1}:
        wrong = f"names a class twice ({', '.join(sorted(twice))})"
        raise StageError(_PLACE, wrong, "name each class once, in the order of the outputs")
    return classes or None


def arranged(folders: Sequence[str], order: Sequence[tuple[str, ...]]) -> list[int]:
    """Return the number in `order` of each folder's class.

    Raises:
        StageError: A folder is none of the classes.
    """
    numbers = {name: number for number, names in reversed([*enumerate(order)]) for name in names}
    if unknown := [name for name in folders if name not in numbers]:
        listed = ", ".join(unknown[:3])
        raise StageError(
            _PLACE,
            f"does not name {len(unknown)} of {len(folders)} classes of data.root ({listed}; "
            f"it names {order[0][0]}, ...)",
            "name all classes of the teacher as their folders are named, or remove the folders",
        )
    return [numbers[name] for name in folders]
