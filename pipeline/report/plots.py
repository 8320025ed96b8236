"""The plots of the page: inline SVG that takes its colours from the page, light or dark.

Drawn by matplotlib with placeholder colours, which become CSS variables afterwards; texts stay
texts. Imports matplotlib, so only the HTML form pays for it.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.gates.measurements import Accuracy, BatchSamples
from pipeline.report.records import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_INK = "#000001"
_SERIES = ("#00000a", "#00000b", "#00000c", "#00000d")
_CHOSEN = "#00000e"
_VARIABLES = {_INK: "currentColor", _CHOSEN: "var(--pass)"} | {
    colour: f"var(--s{number + 1})" for number, colour in enumerate(_SERIES)
}
_SIZE_IN = (5.0, 2.9)
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.18,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
_LEGEND_ABOVE: Any = {"loc": "upper left", "bbox_to_anchor": (0, 1.2), "columnspacing": 1}
_REMOVED = (
    r"<metadata>.*?</metadata>",
    r'\sxmlns(?::\w+)?="[^"]*"',
    r'<g id="patch_[12]">\s*<path[^>]*fill: #ffffff[^>]*/>\s*</g>',
    # matplotlib's own stylesheet would reach the whole page.
    r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>",
    # Only clips and markers are referred to; other ids would repeat from plot to plot.
    r' id="(?![pm][0-9a-f]{10}")[^"]*"',
)


def distribution(samples: BatchSamples, title: str) -> str:
    """Return the share of calls done within a time, a line for each network."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.ecdf(times_ms, label=label, color=colour)
        axes.set(xscale="log", xlabel="milliseconds a call", ylabel="share of calls")
        _plain_ticks(axes.xaxis)
        axes.legend(ncols=3, **_LEGEND_ABOVE)

    return _svg(draw, title)


def over_time(samples: BatchSamples, title: str) -> str:
    """Return the time of each call, in the order of the calls."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.plot(times_ms, label=label, color=colour, linewidth=0.8)
        axes.set(yscale="log", xlabel="repetition", ylabel="milliseconds")
        _plain_ticks(axes.yaxis)
        axes.legend(ncols=3, **_LEGEND_ABOVE)

    return _svg(draw, title)


def _series(samples: BatchSamples) -> list[tuple[str, str, Sequence[float]]]:
    """Return colour, label and times of each network that was measured."""
    networks = (
        (_SERIES[0], "teacher", samples.teacher_ms),
        (_SERIES[1], "teacher as engine", samples.teacher_engine_ms),
        (_SERIES[2], "engine", samples.engine_ms),
    )
    return [(colour, label, times_ms) for colour, label, times_ms in networks if times_ms]


def reliability(accuracy: Mapping[str, Accuracy], title: str) -> str:
    """Return how often predictions of a confidence are right, for teacher and engine."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
        for colour, network in zip(_SERIES[::2], ("teacher", "engine"), strict=True):
            if network in accuracy:
                calibration = accuracy[network].calibration
                x = [filled.confidence for filled in calibration.bins]
                y = [filled.accuracy for filled in calibration.bins]
                axes.plot(x, y, color=colour, linewidth=1.0, label=network)
                sizes = [8 + 90 * filled.n / calibration.n for filled in calibration.bins]
                axes.scatter(x, y, s=sizes, color=colour)
        axes.set(xlabel="mean confidence in a bin", ylabel="share right")
        axes.legend(loc="upper left")

    return _svg(draw, title)


def lines(curves: Sequence[CurvePoint], names: Sequence[str], title: str) -> str:
    """Return some of the training curves against the round."""

    def draw(axes: "Axes") -> None:
        for colour, name in zip(_SERIES, names, strict=False):
            points = [(point["round"], point[name]) for point in curves if name in point]
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), color=colour)
        axes.set(xlabel="round")
        axes.legend(ncols=2, **_LEGEND_ABOVE)

    return _svg(draw, title)


class TradeOff(NamedTuple):
    """One choice: what it costs and what it loses, each as value and one-sided bounds."""

    label: str
    cost: tuple[float, float, float]
    loss: tuple[float, float, float]
    is_on_front: bool
    is_chosen: bool


def trade_off(choices: Sequence[TradeOff], *, cost: str, loss: str, title: str) -> str:
    """Return choices by cost and loss, named axes, with the front of those worth their cost."""

    def draw(axes: "Axes") -> None:
        front = sorted(choice for choice in _points(choices) if choice[2])
        axes.plot(
            [x for x, _, _ in front], [y for _, y, _ in front],
            color=_SERIES[2], linewidth=1.2, drawstyle="steps-post", zorder=1,
        )  # fmt: skip
        costs = [choice.cost[0] for choice in choices]
        middle = (min(costs) + max(costs)) / 2
        for choice in choices:
            is_strong = choice.is_on_front or choice.is_chosen
            colour = _SERIES[2] if choice.is_on_front else _INK
            colour = _CHOSEN if choice.is_chosen else colour
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
        axes.axhline(0, color=_INK, linewidth=0.8, linestyle=":")
        axes.set(xlabel=cost, ylabel=loss)
        axes.margins(x=0.15, y=0.12)

    return _svg(draw, title)


def _points(choices: Sequence[TradeOff]) -> list[tuple[float, float, bool]]:
    return [(choice.cost[0], choice.loss[0], choice.is_on_front) for choice in choices]


def _reach(bounded: tuple[float, float, float]) -> tuple[list[float], list[float]] | None:
    """Return how far bounds lie below and above a value, None where they are the value."""
    value, low, high = bounded
    if low == high:
        return None
    return [max(0.0, value - low)], [max(0.0, high - value)]


def _plain_ticks(axis: "Axis") -> None:
    """Write times as 0.5 and 20, not as powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _svg(draw: "Callable[[Axes], None]", title: str) -> str:
    """Return a drawing as an element of a page, of no fixed size and in the page's colours."""
    from matplotlib import rc_context  # noqa: PLC0415  (a second to import; only for a page)
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=_SIZE_IN, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for pattern in _REMOVED:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("fill: #ffffff", "fill: none")
    text = re.sub(r"font-family: [^;]*;", "font-family: inherit;", text)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
