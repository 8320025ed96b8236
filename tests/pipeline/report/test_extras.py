"""Curves and candidates are read in every form they may have, and missed without fuss."""

import json

import pytest

from pipeline.report import extras

ROWS = [{"round": 1, "loss": 0.5}, {"round": 2, "loss": 0.4}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps({"schema": "x", "rounds": ROWS}),
        "\n".join(json.dumps(row) for row in ROWS) + "\n",
    ],
)
def test_records_are_read_in_each_form(text: str) -> None:
    assert extras.parse(text) == ROWS


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        extras.parse("round,loss\n1,0.5\n")


def test_a_stage_that_has_not_run_leaves_nothing() -> None:
    assert extras.curves(None) == []
    assert extras.candidates(None) == []
