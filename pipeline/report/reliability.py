"""Whether confidence is the share that is right: a reliability diagram, as a histogram.

As in Guo et al., On Calibration of Modern Neural Networks, ICML 2017, figure 1: a bar for each bin
of confidences that holds images, and how many images each holds below. An empty bin stays empty.
"""

from typing import TYPE_CHECKING

from pipeline.gates.measurements import CALIBRATION_BINS, Accuracy
from pipeline.report import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_IN = (5.0, 3.9)
_ROUNDING = 1e-9


def diagram(accuracy: Accuracy, title: str) -> str:
    """Return the diagram of one network.

    A bar is as high as the share of its images that is right; its gap is what lies between that and
    the mean confidence of these images, which the calibration error sums up.
    """
    calibration = accuracy.calibration
    width = 1 / CALIBRATION_BINS
    bins = calibration.bins
    left = [_bin_of(filled.confidence) * width for filled in bins]

    def draw(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        box = {"width": width, "align": "edge", "linewidth": 0.6}
        right = [filled.accuracy for filled in bins]
        colours = {"color": plots.SERIES[2], "edgecolor": plots.INK, "alpha": 0.6}
        upper.bar(left, right, label="share right", **box, **colours)
        gaps = [filled.confidence - filled.accuracy for filled in bins]
        upper.bar(
            left,
            gaps,
            bottom=right,
            color="none",
            edgecolor=plots.SERIES[3],
            hatch="////",
            label="gap to confidence",
            **box,
        )
        upper.plot([0, 1], [0, 1], color=plots.INK, linewidth=0.8, linestyle=":")
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share right")
        upper.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 1.22))
        lower.bar(
            left,
            [filled.n / calibration.n for filled in bins],
            color=plots.SERIES[0],
            edgecolor=plots.INK,
            **box,
        )
        lower.set(ylim=(0, 1), xlabel="confidence", ylabel="images")
        lower.yaxis.set_major_formatter(plots.percent_formatter())

    return plots.svg(draw, title, size_in=_SIZE_IN)


def _bin_of(confidence: float) -> int:
    """Return the number of the bin that a mean confidence lies in."""
    # A mean may lie a rounding error below confidences that are all at the lower end of a bin.
    return min(int(confidence * CALIBRATION_BINS + _ROUNDING), CALIBRATION_BINS - 1)
