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
    is_test: bool = False
    """Whether what is held out is called test, of which the labels are often not published."""


def kind_of(name: str) -> str | None:
    """Return `train`, `val` or `test` for a name such as Training, valid, test_set or val2017."""
    words = _words(name)
    if len(words) == 1 and (joined := _JOINED.fullmatch(words[0])):
        words = [joined[1]]
    kinds = [word for word in words if word not in _FILLERS]
    return _KIND_OF.get(kinds[0]) if len(kinds) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


def mentions_part(name: str) -> bool:
    """Return whether some word of a name is that of a part, as in cats_train."""
    return any(word in _KIND_OF for word in _words(name))


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
    """Return the parts that `root` holds; both are None where its folders are classes.

    Words that all folders have in common do not count, as in seg_train, seg_test, seg_pred.
    """
    names = tree.class_folders(root)
    common = set.intersection(*(set(_words(name)) for name in names)) if len(names) > 1 else set()
    common -= _KIND_OF.keys()
    short = {" ".join(w for w in _words(name) if w not in common): name for name in names}
    short = short if common else {name: name for name in names}
    train, held_out = pick(short)
    if (train and held_out) or (names and all(map(kind_of, short))):
        first, second = (short.get(name or "") for name in (train, held_out))
        others = tuple(name for name in names if name not in (first, second))
        return Parts(
            root / first if first else None,
            root / second if second else None,
            others,
            is_test=kind_of(held_out or "") == "test",
        )
    return Parts(None, None, ())


def unwrapped(part: Path) -> Path:
    """Return the folder of the classes of a part that lies in a folder of the same name."""
    names = tree.class_folders(part)
    kinds = {kind_of(name) for name in (*names, part.name)}
    is_same = names == [part.name] or (len(kinds) == 1 and None not in kinds)
    return part / names[0] if len(names) == 1 and is_same else part


def look_like_parts(root: Path, classes: Sequence[str]) -> str | None:
    """Return which folders look like parts and no classes, and why; None where none do.

    They have the word of a part in their names and the same sub-folders, or differ in that word.
    """
    mentioning = [name for name in classes if mentions_part(name)]
    by_rest: dict[str, set[str]] = {}
    for name in mentioning:
        rest = " ".join(word for word in _words(name) if word not in _KIND_OF)
        by_rest.setdefault(rest, set()).update(_KIND_OF[w] for w in _words(name) if w in _KIND_OF)
    if any(TRAIN in kinds and len(kinds) > 1 for kinds in by_rest.values()):
        return f"{tree.some(mentioning)} look like parts, not classes: the same but for the part"
    is_enough = len(mentioning) > 1 or (mentioning and len(classes) > 1)
    inner = shared(root, mentioning if len(mentioning) > 1 else classes) if is_enough else []
    if inner:
        return f"{tree.some(classes)} look like parts, not classes: all hold {tree.some(inner)}"
    return None


def shared(root: Path, classes: Sequence[str]) -> list[str]:
    """Return the names of the sub-folders that all of some folders have in common."""
    inner = [set(tree.class_folders(root / name)) for name in classes]
    return sorted(set.intersection(*inner)) if inner else []
