"""Plots are part of the page: no network, no colours or sizes of their own, texts as texts."""

import re

import pytest

from pipeline.report import plots, reliability
from tests.measurements import SAMPLES, accuracy, changed

assert SAMPLES.latency is not None
TIMES = SAMPLES.latency.batches["1"]

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
