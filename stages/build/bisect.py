"""Which layers cost a quantized network its accuracy, found by halving groups of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Disagreement = Callable[[frozenset[str]], float]
"""The share of images whose class changes when these layers are in float and all others not."""


class Costly(NamedTuple):
    """A layer that was returned to float, and what was left of the disagreement then."""

    layer: str
    disagreement: float


def costly_layers(
    layers: Sequence[str], disagreement: Disagreement, *, limit: float, most: int
) -> tuple[Costly, ...]:
    """Return the layers to keep in float, the costliest first.

    A group is halved, each half tried in float beside the layers already found, and the half that
    leaves the smaller disagreement is halved again, down to one layer: about 2 log2 of their number
    trials for each. It ends when the disagreement is at most `limit` or `most` layers are found.
    """
    found: list[Costly] = []
    while len(found) < min(most, len(layers)):
        fixed = frozenset(each.layer for each in found)
        group = [each for each in layers if each not in fixed]
        while len(group) > 1:
            halves = group[: len(group) // 2], group[len(group) // 2 :]
            left = [disagreement(fixed | frozenset(half)) for half in halves]
            group = halves[0] if left[0] <= left[1] else halves[1]
        found.append(Costly(group[0], disagreement(fixed | {group[0]})))
        if found[-1].disagreement <= limit:
            break
    return tuple(found)
