"""Names of weights that mean the same layer in different repositories."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

_SPELLINGS = (
    ("downsample", "shortcut"), ("shortcut", "downsample"), ("fc", "linear"), ("linear", "fc"),
    ("fc", "classifier"), ("classifier", "fc"),
)  # fmt: skip
"""Parts of a name, and what may stand in their place, in the order of trial."""

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
            parts = name.split(".")
            others = (
                ".".join(new if part == old else part for part in parts) for old, new in _SPELLINGS
            )
            spelling = next((o for o in others if o in wanted and o not in named), name)
        matched[spelling] = value
    return matched
