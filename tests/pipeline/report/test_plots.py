"""Plots are part of the page: no network, no colours or sizes of their own, texts as texts."""

import re
from typing import Any

import pytest

from pipeline.report import plots

SAMPLES = {"teacher_ms": [0.5, 0.6, 0.7], "engine_ms": [0.1, 0.11, 0.3]}
NETWORK = {"calibration": {"bins": [{"n": 4, "confidence": 0.9, "accuracy": 0.8}]}}

DRAWN = {
    "distribution": lambda: plots.distribution(SAMPLES, "a <b>"),
    "over time": lambda: plots.over_time(SAMPLES, "a <b>"),
    "reliability": lambda: plots.reliability({"teacher": NETWORK, "engine": NETWORK}, "a <b>"),
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


def test_a_side_that_was_not_measured_has_no_line() -> None:
    text = plots.distribution(SAMPLES, "t")
    assert "teacher" in text
    assert "teacher as engine" not in text


def test_columns_of_curves_are_those_with_numbers() -> None:
    rows: list[dict[str, Any]] = [
        {"round": 1, "loss": None, "note": "x"},
        {"round": 2, "loss": 0.5, "ok": True},
    ]
    assert plots.numeric_columns(rows) == ["loss"]
