"""A pull-request comment says the verdict first, and its tables are whole."""

from collections.abc import Callable
from typing import Any

from pipeline.report import forms

Report = Callable[..., dict[str, Any]]


def test_markdown_says_the_verdict_first_and_has_a_marker(report: Report) -> None:
    lines = forms.render("markdown", report()).splitlines()
    assert lines[:4] == [
        "<!-- madpipe report -->",
        "## madpipe: pass",
        "",
        "3 of 3 gates passed",
    ]
    assert "| student | 0.9800 | 540 |" in lines
    assert "| 1 | 0.500 | 0.100 | 5.00 | 4.50 to 5.50 | 400 |" in lines


def test_markdown_tables_are_whole(report: Report) -> None:
    made = report()
    made["stages"][0]["metrics"] = {"a|b": "c|d\ne"}
    rows = [
        line for line in forms.render("markdown", made).splitlines() if line.startswith("| distill")
    ]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 5
    assert rows[0].endswith(" |")


def test_engines_that_were_tried_are_a_table(report: Report) -> None:
    made = report()
    assert "| candidate |" not in forms.render("markdown", made)
    made["candidates"] = [
        {
            "backend": "b", "precision": "int8", "float_layers": ["first"], "disagreement": 0.02,
            "p50_ms": None, "bytes": 1, "build_s": 1.0, "verdict": "missed", "reason": "too many",
        }
    ]  # fmt: skip
    assert "| b | int8, 1 layers fp32 |  | 0.0200 | missed | too many |" in forms.render(
        "markdown", made
    )
    assert "too many" in forms.render("html", made)
