"""The training and the held-out part of a data set, however their folders or files are spelt."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.data import tree

TRAIN = "train"
_SPELLINGS = {
    TRAIN: ("train", "training", "trn", "trainval"),
    "val": ("val", "valid", "validation", "validating", "dev", "eval", "evaluation", "holdout"),
    "test": ("test", "testing", "tst"),
}
_KIND_OF = {name: kind for kind, names in _SPELLINGS.items() for name in names}
_FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "part", "folder"}
_JOINED = re.compile(f"({'|'.join(_KIND_OF)})({'|'.join(_FILLERS)})")


class Parts(NamedTuple):
    """Where the parts of a data set lie."""

    train: Path | None
    held_out: Path | None
    others: tuple[str, ...]
    """Names of folders beside them."""


def kind_of(name: str) -> str | None:
    """Return `train`, `val` or `test` for a name such as Training, valid, test_set or val2017."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    if len(words) == 1 and (joined := _JOINED.fullmatch(words[0])):
        words = [joined[1]]
    kinds = [word for word in words if word not in _FILLERS]
    return _KIND_OF.get(kinds[0]) if len(kinds) == 1 else None


def mentions_part(name: str) -> bool:
    """Return whether some word of a name is that of a part, as in cats_train."""
    return any(word in _KIND_OF for word in re.split(r"[^a-z]+", name.lower()))


def pick(names: Iterable[str]) -> tuple[str | None, str | None]:
    """Return the names of the training and of the held-out part: val before test, plain first."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        if kind := kind_of(name):
            by_kind.setdefault(kind, []).append(name)
    for kind, same in by_kind.items():
        same.sort(key=lambda name: (_rank(name, _SPELLINGS[kind]), name))
    first = {kind: same[0] for kind, same in by_kind.items()}
    return first.get(TRAIN), first.get("val", first.get("test"))


def _rank(name: str, spellings: Sequence[str]) -> int:
    return spellings.index(name) if name in spellings else len(spellings)


def of_folder(root: Path) -> Parts:
    """Return the parts that `root` holds; both are None where its folders are classes."""
    names = tree.class_folders(root)
    train, held_out = pick(names)
    if (train and held_out) or (names and all(map(kind_of, names))):
        others = tuple(name for name in names if name not in (train, held_out))
        first, second = (root / name if name else None for name in (train, held_out))
        return Parts(first, second, others)
    return Parts(None, None, ())


def unwrapped(part: Path) -> Path:
    """Return the folder of the classes of a part that lies in a folder of the same name."""
    names = tree.class_folders(part)
    if len(names) == 1 and kind_of(names[0]) == kind_of(part.name):
        return part / names[0]
    return part


def look_like_parts(root: Path, classes: Sequence[str]) -> list[str]:
    """Return the folders that classes in them have in common where such folders are no classes."""
    if not any(map(mentions_part, classes)):
        return []
    inner = [set(tree.class_folders(root / name)) for name in classes]
    return sorted(set.intersection(*inner)) if inner else []
