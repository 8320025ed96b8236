"""Plots are part of the page: no network, no colours or sizes of their own, texts as texts."""

import re

import pytest

from pipeline.gates.measurements import CALIBRATION_BINS, Samples
from pipeline.report import confusion, plots, reliability, trade_off
from pipeline.report.trade_off import TradeOff
from tests.measurements import SAMPLES, accuracy, changed

assert SAMPLES.latency is not None
TIMES = SAMPLES.latency.batches["1"]

CLASSES = [f"class {k}" for k in range(30)]

DRAWN = {
    "distribution": lambda: plots.distribution(TIMES, "a <b>"),
    "over time": lambda: plots.over_time(TIMES, "a <b>"),
    "reliability": lambda: reliability.diagram(accuracy(531), "a <b>"),
    "lines": lambda: plots.lines(
        [{"round": 1, "loss": 2.0}, {"round": 2}, {"round": 3, "loss": 1.0}], ["loss"], "a <b>"
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_takes_its_colours_and_its_size_from_the_page(name: str) -> None:
    text = DRAWN[name]()
    assert text.startswith('<svg role="img" aria-label="a &lt;b&gt;"')
    assert re.findall("#[0-9a-f]{6};", text) == []
    assert "var(--s1)" in text
    assert "currentColor" in text
    assert "http" not in text
    assert "<style" not in text
    assert not re.search(r"<svg[^>]* width=", text)


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_figures_give_the_same_plot(name: str) -> None:
    assert DRAWN[name]() == DRAWN[name]()


def test_a_network_that_was_not_measured_has_no_line() -> None:
    text = plots.distribution(changed(TIMES, teacher_engine_ms=None), "t")
    assert "teacher" in text
    assert "teacher as engine" not in text


def test_confusion_has_the_same_bytes_every_time_and_the_names_beside_it() -> None:
    confused = confusion.count(SAMPLES, CLASSES)
    assert confused is not None
    first, second = (confusion.picture(confused, "a <b>") for _ in range(2))
    assert first == second
    assert first.startswith('<svg role="img" aria-label="a &lt;b&gt;"')
    assert "data:image/png;base64," in first
    assert first.count("class 29") == 2


def heights(text: str) -> list[tuple[int, float]]:
    """Return number and height, in shares of the axes, of each bar of the upper diagram."""
    boxes = re.findall(
        r'<path d="M ([\d.]+) ([\d.]+) L ([\d.]+) [\d.]+ L [\d.]+ ([\d.]+) [^"]*z\s*" '
        r'clip-path="url\(#\w+\)" style="fill: var\(--s3\)',
        re.sub(r"\s+", " ", text),
    )
    width = min(float(right) - float(left) for left, _, right, _ in boxes)
    start = float(boxes[0][0]) - width * 9
    top = max(float(low) - float(high) for _, low, _, high in boxes)
    return [
        (round((float(left) - start) / width), (float(low) - float(high)) / top)
        for left, low, _, high in boxes
    ]


def test_reliability_has_a_bar_for_each_filled_bin_and_none_for_others() -> None:
    """Of the two bins one is 0.6 to 0.667 with 0.7 right, the other the last with 0.98."""
    bars = heights(reliability.diagram(accuracy(531), "t"))
    assert [number for number, _ in bars] == [9, CALIBRATION_BINS - 1]
    assert bars[0][1] == pytest.approx(0.7 / 0.98, abs=0.01)


@pytest.mark.parametrize(
    ("confidence", "number"), [(0.0, 0), (0.6, 9), (0.6 - 1e-12, 9), (0.599, 8), (1.0, 14)]
)
def test_a_mean_confidence_lies_in_its_bin(confidence: float, number: int) -> None:
    assert reliability._bin_of(confidence) == number


def test_dollars_in_names_are_no_formula() -> None:
    names = ("$5 to $10", r"$\nothing$", "$$")
    samples = Samples(dataset=SAMPLES.dataset, labels=(0, 1, 2), predictions={"engine": (0, 1, 2)})
    counted = confusion.count(samples, names)
    assert counted is not None
    drawn = confusion.picture(counted, "a")
    choice = TradeOff(names[1], (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), True, False)  # noqa: FBT003
    drawn += trade_off.plot([choice], cost="ms", loss="points", title="b")
    assert all(f">{name}<" in drawn for name in names)


def test_a_file_of_settings_in_the_current_folder_changes_nothing() -> None:
    import matplotlib as mpl

    usual = DRAWN["lines"]()
    with mpl.rc_context({"text.usetex": True, "svg.fonttype": "path", "font.size": 40}):
        assert DRAWN["lines"]() == usual
