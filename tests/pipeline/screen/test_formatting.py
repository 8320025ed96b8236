"""Figures are written for people, alike everywhere."""

from typing import Any

import pytest

from pipeline.screen import formatting


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0.0 s"),
        (0.34, "0.3 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (60.0, "1 min 00 s"),
        (125.0, "2 min 05 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 00 min"),
        (3720.0, "1 h 02 min"),
        (360_000.0, "100 h 00 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert formatting.duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.98518, "0.9852"),
        (12, "12"),
        (77850, "77 850"),
        (1234.5, "1 234"),
        (-1_000_000, "-1 000 000"),
        (0.000_012_3, "1.23e-05"),
        (True, "True"),
        ("text", "text"),
        (None, "None"),
    ],
)
def test_number(value: object, expected: str) -> None:
    assert formatting.number(value) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (319_488, "312.0 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * 2**30, "3.00 GiB"),
        (2**41, "2048.00 GiB"),
    ],
)
def test_size(count: int, expected: str) -> None:
    assert formatting.size(count) == expected


def test_metrics_stand_in_one_line() -> None:
    assert formatting.metrics({"top1": 0.985, "params": 77850}) == "top1 0.985  params 77 850"
    assert formatting.metrics({}) == ""


def test_count_of_a_progress_event_is_no_figure() -> None:
    fields: dict[str, Any] = {"done": 1, "total": 2, "unit": "rounds", "loss": 0.5}
    assert formatting.progress_figures(fields) == {"loss": 0.5}
