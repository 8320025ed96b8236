"""The plots of the page: inline SVG that takes its colours from the page, light or dark.

Drawn by matplotlib with placeholder colours, which become CSS variables afterwards; texts stay
texts. Imports matplotlib, so only the HTML form pays for it.
"""

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.gates.measurements import BatchSamples
from pipeline.report.records import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

INK = "#000001"
SERIES = ("#00000a", "#00000b", "#00000c", "#00000d")
CHOSEN = "#00000e"
_VARIABLES = {INK: "currentColor", CHOSEN: "var(--pass)"} | {
    colour: f"var(--s{number + 1})" for number, colour in enumerate(SERIES)
}
_SIZE_IN = (5.0, 2.9)
_STYLE: Any = {
    "svg.fonttype": "none",
    # Names of classes and values of settings are no formulas, whatever dollars are in them.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": INK,
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
    # Only clips, markers and hatches are referred to; other ids would repeat from plot to plot.
    r' id="(?![pmh][0-9a-f]{10}")[^"]*"',
)


def distribution(samples: BatchSamples, title: str) -> str:
    """Return the share of calls done within a time, a line for each network."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.ecdf(times_ms, label=label, color=colour)
        axes.set(xscale="log", xlabel="milliseconds a call", ylabel="share of calls")
        plain_ticks(axes.xaxis)
        axes.legend(ncols=3, **_LEGEND_ABOVE)

    return _svg(draw, title)


def over_time(samples: BatchSamples, title: str) -> str:
    """Return the time of each call, in the order of the calls."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.plot(times_ms, label=label, color=colour, linewidth=0.8)
        axes.set(yscale="log", xlabel="repetition", ylabel="milliseconds")
        plain_ticks(axes.yaxis)
        axes.legend(ncols=3, **_LEGEND_ABOVE)

    return _svg(draw, title)


def _series(samples: BatchSamples) -> list[tuple[str, str, Sequence[float]]]:
    """Return colour, label and times of each network that was measured."""
    networks = (
        (SERIES[0], "teacher", samples.teacher_ms),
        (SERIES[1], "teacher as engine", samples.teacher_engine_ms),
        (SERIES[2], "engine", samples.engine_ms),
    )
    return [(colour, label, times_ms) for colour, label, times_ms in networks if times_ms]


def lines(curves: Sequence[CurvePoint], names: Sequence[str], title: str) -> str:
    """Return some of the training curves against the round."""

    def draw(axes: "Axes") -> None:
        for colour, name in zip(SERIES, names, strict=False):
            points = [(point["round"], point[name]) for point in curves if name in point]
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), color=colour)
        axes.set(xlabel="round")
        axes.legend(ncols=2, **_LEGEND_ABOVE)

    return _svg(draw, title)


def plain_ticks(axis: "Axis") -> None:
    """Write numbers on a logarithmic axis as 0.5 and 20, not as powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def percent_formatter() -> "Formatter":
    """Return what writes shares as percentages."""
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    return PercentFormatter(1.0, decimals=0)


def _svg(draw: "Callable[[Axes], None]", title: str) -> str:
    """Return a drawing of one pair of axes, as `svg` does."""
    return svg(lambda figure: draw(figure.add_subplot()), title)


def svg(
    draw: "Callable[[Figure], None]", title: str, *, size_in: tuple[float, float] = _SIZE_IN
) -> str:
    """Return a drawing as an element of a page, of no fixed size and in the page's colours."""
    from matplotlib import rc_context, rcdefaults, rcParams  # noqa: PLC0415  (a second to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context():
        rcdefaults()  # a file of settings in the current folder may have TeX write all texts
        rcParams.update({**_STYLE, "svg.hashsalt": title})
        figure = Figure(figsize=size_in, layout="constrained")
        draw(figure)
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
