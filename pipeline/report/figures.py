"""What was measured as a flat list of figures, for programs that follow figures over time."""

from typing import NamedTuple

from pipeline.gates.estimates import estimate
from pipeline.gates.measurements import Measurements
from pipeline.gates.measures import CHANGES, MEASURES, is_exact, is_higher_better, unit

CONFIDENCE = 0.95
"""One-sided, of each bound of a figure."""


class Figure(NamedTuple):
    """One measure of a run."""

    name: str
    meaning: str
    value: float
    low: float | None
    """Lower confidence bound, None where no sample is behind the value."""
    high: float | None
    n: int
    unit: str
    """`1` where it is a share or a ratio."""
    is_higher_better: bool


def figures_of(measurements: Measurements | None) -> list[Figure]:
    """Return every measure that has a value; none of nothing."""
    if measurements is None:
        return []
    figures = []
    for name, meaning in (MEASURES | CHANGES).items():
        measured = estimate(name, measurements, CONFIDENCE)
        if measured is not None:
            low, high = (None, None) if is_exact(name) else measured.bounds
            is_better = is_higher_better(name)
            value = Figure(
                name, meaning, measured.value, low, high, measured.n, unit(name), is_better
            )
            figures.append(value)
    return figures
