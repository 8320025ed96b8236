"""Choices by what they cost and what they lose, with the front of those worth their cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TradeOff(NamedTuple):
    """One choice: what it costs and what it loses, each as value and one-sided bounds."""

    label: str
    cost: tuple[float, float, float]
    loss: tuple[float, float, float]
    is_on_front: bool
    is_chosen: bool


def plot(choices: Sequence[TradeOff], *, cost: str, loss: str, title: str) -> str:
    """Return choices by cost and loss, named axes, with the front of those worth their cost."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        front = sorted(choice for choice in _points(choices) if choice[2])
        axes.plot(
            [x for x, _, _ in front], [y for _, y, _ in front],
            color=plots.SERIES[2], linewidth=1.2, drawstyle="steps-post", zorder=1,
        )  # fmt: skip
        costs = [choice.cost[0] for choice in choices]
        middle = (min(costs) + max(costs)) / 2
        for choice in choices:
            is_strong = choice.is_on_front or choice.is_chosen
            colour = plots.SERIES[2] if choice.is_on_front else plots.INK
            colour = plots.CHOSEN if choice.is_chosen else colour
            x, y = choice.cost[0], choice.loss[0]
            axes.errorbar(
                x, y, xerr=_reach(choice.cost), yerr=_reach(choice.loss),
                color=colour, elinewidth=0.8, alpha=1.0 if is_strong else 0.45,
                marker="D" if choice.is_chosen else "o", markersize=7 if choice.is_chosen else 5,
                markerfacecolor=colour if is_strong else "none", linestyle="none",
            )  # fmt: skip
            is_right = x > middle  # a label there goes to the left, within the plot
            axes.annotate(
                choice.label, (x, y), xytext=(-6 if is_right else 6, 6),
                ha="right" if is_right else "left", textcoords="offset points", fontsize=9,
                color=colour, fontweight="bold" if choice.is_chosen else "normal",
            )  # fmt: skip
        axes.axhline(0, color=plots.INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel=cost, ylabel=loss)
        axes.margins(x=0.15, y=0.12)

    return plots.svg(draw, title)


def _points(choices: Sequence[TradeOff]) -> list[tuple[float, float, bool]]:
    return [(choice.cost[0], choice.loss[0], choice.is_on_front) for choice in choices]


def _reach(bounded: tuple[float, float, float]) -> tuple[list[float], list[float]] | None:
    """Return how far bounds lie below and above a value, None where they are the value."""
    value, low, high = bounded
    if low == high:
        return None
    return [max(0.0, value - low)], [max(0.0, high - value)]
