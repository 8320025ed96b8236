"""Names of weights that mean the same layer in different repositories.

Knows nothing of files or of which network is meant.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

_SAME = (("downsample", "shortcut"), ("fc", "linear"), ("fc", "classifier"))

T = TypeVar("T")


def match_key_names(named: Mapping[str, T], wanted: AbstractSet[str]) -> dict[str, T]:
    """Return `named` with each name spelled as `wanted` has it, where only the spelling differs.

    A part of a name, between dots, may be exchanged for its other spelling: downsample and
    shortcut, fc and linear or classifier. A name is left as it is where `wanted` has it or has
    no other spelling of it, and where the other spelling is in use.
    """
    matched: dict[str, T] = {}
    for name, value in named.items():
        spelling = name
        if name not in wanted:
            others = (other for other in _spellings(name) if other in wanted)
            spelling = next((other for other in others if other not in named), name)
        matched[spelling] = value
    return matched


def _spellings(name: str) -> list[str]:
    parts = name.split(".")
    spellings = []
    for one, other in _SAME:
        for old, new in ((one, other), (other, one)):
            if old in parts:
                spellings.append(".".join(new if part == old else part for part in parts))
    return spellings
