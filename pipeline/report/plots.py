"""The plots of the page: inline SVG that takes its colours from the page, light or dark.

Drawn by matplotlib with placeholder colours, which become CSS variables afterwards; texts stay
texts. Imports matplotlib, so only the HTML form pays for it.
"""

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.gates.measurements import Accuracy, BatchSamples
from pipeline.report.records import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_INK = "#000001"
_SERIES = ("#00000a", "#00000b", "#00000c", "#00000d")
_VARIABLES = {_INK: "currentColor"} | {
    colour: f"var(--s{number + 1})" for number, colour in enumerate(_SERIES)
}
_WIDTH_IN, _HEIGHT_IN = 5.0, 2.9
_GRID_ALPHA = 0.18
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
    "grid.alpha": _GRID_ALPHA,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def distribution(samples: BatchSamples, title: str) -> str:
    """Return the share of calls done within a time, a line for each network."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.ecdf(times_ms, label=label, color=colour)
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds a call")
        axes.set_ylabel("share of calls")
        _plain_ticks(axes.xaxis)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.2), ncols=3, columnspacing=1)

    return _svg(draw, title)


def over_time(samples: BatchSamples, title: str) -> str:
    """Return the time of each call, in the order of the calls."""

    def draw(axes: "Axes") -> None:
        for colour, label, times_ms in _series(samples):
            axes.plot(times_ms, label=label, color=colour, linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xlabel("repetition")
        axes.set_ylabel("milliseconds")
        _plain_ticks(axes.yaxis)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.2), ncols=3, columnspacing=1)

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
            bins = accuracy[network].calibration.bins if network in accuracy else ()
            if bins:
                across = [filled.confidence for filled in bins]
                up = [filled.accuracy for filled in bins]
                axes.plot(across, up, color=colour, linewidth=1.0, label=network)
                total = sum(filled.n for filled in bins)
                sizes = [8 + 90 * filled.n / total for filled in bins]
                axes.scatter(across, up, s=sizes, color=colour)
        axes.set_xlabel("mean confidence in a bin")
        axes.set_ylabel("share right")
        axes.legend(loc="upper left")

    return _svg(draw, title)


def lines(curves: Sequence[CurvePoint], names: Sequence[str], title: str) -> str:
    """Return some of the training curves against the round."""

    def draw(axes: "Axes") -> None:
        for colour, name in zip(_SERIES, names, strict=False):
            points = [(point["round"], point[name]) for point in curves if name in point]
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), color=colour)
        axes.set_xlabel("round")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 1.2), ncols=2, columnspacing=1)

    return _svg(draw, title)


def _plain_ticks(axis: "Axis") -> None:
    """Write times as 0.5 and 20, not as powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _svg(draw: "Callable[[Axes], None]", title: str) -> str:
    from matplotlib import rc_context  # noqa: PLC0415  (a second to import; only for a page)
    from matplotlib.figure import Figure  # noqa: PLC0415

    buffer = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": title}):
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _inlined(buffer.getvalue(), title)


def _inlined(text: str, title: str) -> str:
    """Return an SVG file as an element of a page, of no fixed size and in the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<g id=\"patch_[12]\">\s*<path[^>]*fill: #ffffff[^>]*/>\s*</g>", "", text)
    text = text.replace("fill: #ffffff", "fill: none")
    # matplotlib's own stylesheet would reach the whole page.
    text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*;", "font-family: inherit;", text)
    # Only clips and markers are referred to; other ids would repeat from plot to plot.
    text = re.sub(r' id="(?![pm][0-9a-f]{10}")[^"]*"', "", text)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
