"""What a network takes for what, counted from the raw samples: a table, a picture, the pairs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.gates.measurements import Samples
from pipeline.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IN_TABLE = 20
"""Classes of which the page has a table of numbers; of more it has a picture."""
_NAMED_CLASSES = 50
"""Classes whose names fit beside a picture."""
_MOST_CELLS = 250
"""Rows of cells in a picture, so that a cell is seen; more classes share cells."""
_LONGEST_NAME = 16
_PAIRS = 10
_SIZE_IN = (6.2, 5.4)
_HUE = (0.23, 0.51, 0.96)
"""Seen on white and on black; a cell is the more opaque the more images it counts."""
_LEAST_OPACITY = 0.35
_LEVELS = 24


class Pair(NamedTuple):
    """A class that is taken for another one."""

    label: str
    answer: str
    n: int
    """Images of the class that the network takes for the other."""
    teacher_n: int
    """The same of the teacher."""
    of: int
    """Images of the class."""


class Confusion(NamedTuple):
    """The answers of one network by label."""

    network: str
    classes: Sequence[str]
    counts: Mapping[tuple[int, int], int]
    """(label, answer) -> how many images; those with none are left out."""
    pairs: Sequence[Pair]
    """The most frequent errors."""

    @property
    def rows(self) -> list[list[int]]:
        """Return how many images of each label got each answer."""
        k = range(len(self.classes))
        return [[self.counts.get((label, answer), 0) for answer in k] for label in k]


def count(samples: Samples, classes: Sequence[str] | None) -> Confusion | None:
    """Return what the engine answers, or what stands for it; None without labels or classes."""
    networks = [name for name in ("engine", "graph", "student") if name in samples.predictions]
    if samples.labels is None or not classes or not networks:
        return None
    counts = _counts(samples.labels, samples.predictions[networks[0]])
    if any(max(pair) >= len(classes) for pair in counts):
        return None
    teacher = _counts(samples.labels, samples.predictions.get("teacher", ()))
    of = Counter(samples.labels)
    errors = sorted((-n, pair) for pair, n in counts.items() if pair[0] != pair[1])
    pairs = [
        Pair(classes[label], classes[answer], -n, teacher.get((label, answer), 0), of[label])
        for n, (label, answer) in errors[:_PAIRS]
    ]
    return Confusion(networks[0], classes, counts, pairs)


def _counts(labels: Sequence[int], predictions: Sequence[int]) -> dict[tuple[int, int], int]:
    return dict(Counter(zip(labels, predictions, strict=False)))


def classes_in_a_cell(confusion: Confusion) -> int:
    """Return how many classes share a row of the picture."""
    return -(-len(confusion.classes) // _MOST_CELLS)


def picture(confusion: Confusion, title: str) -> str:
    """Return a picture of the counts on a logarithmic scale, in the order of the classes."""
    share = classes_in_a_cell(confusion)
    sides = -(-len(confusion.classes) // share)
    cells: Counter[tuple[int, int]] = Counter()
    for (label, answer), n in confusion.counts.items():
        cells[label // share, answer // share] += n
    top = max(cells.values())

    def draw(figure: "Figure") -> None:
        import numpy as np  # noqa: PLC0415  (matplotlib has it)
        from matplotlib.cm import ScalarMappable  # noqa: PLC0415
        from matplotlib.colors import ListedColormap, LogNorm  # noqa: PLC0415

        axes = figure.add_subplot()
        rgba = np.zeros((sides, sides, 4))
        for place, n in cells.items():
            rgba[place] = (*_HUE, _opacity(n, top))
        extent = (-0.5, sides * share - 0.5, sides * share - 0.5, -0.5)
        axes.imshow(rgba, interpolation="none", extent=extent)
        _name_axes(axes, confusion)
        levels = [
            (*_HUE, _opacity(top ** (level / (_LEVELS - 1)), top)) for level in range(_LEVELS)
        ]
        scale = ScalarMappable(LogNorm(1, max(2, top)), ListedColormap(levels))
        bar = figure.colorbar(scale, ax=axes, label="images, logarithmic", shrink=0.8)
        if bar.solids is not None:
            bar.solids.set_edgecolor("none")
        plots.plain_ticks(bar.ax.yaxis)

    return plots.svg(draw, title, size_in=_SIZE_IN)


def _opacity(n: float, top: int) -> float:
    return _LEAST_OPACITY + (1 - _LEAST_OPACITY) * math.log(n) / math.log(max(2, top))


def _name_axes(axes: Any, confusion: Confusion) -> None:
    """Write names beside the cells where they fit, else numbers of classes."""
    classes = confusion.classes
    axes.grid(visible=False)
    axes.set(xlabel=f"answer of the {confusion.network}", ylabel="label")
    if len(classes) <= _NAMED_CLASSES:
        names = [
            name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
            for name in classes
        ]
        size = min(8.0, 260 / len(classes))
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(classes)), names, fontsize=size)
