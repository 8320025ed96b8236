"""A pull-request comment says the verdict first, and its tables are whole."""

from collections.abc import Callable
from typing import Any

from pipeline.report import renderers

Report = Callable[..., dict[str, Any]]


def test_markdown_says_the_verdict_first_and_has_a_marker(report: Report) -> None:
    lines = renderers.render("markdown", report()).splitlines()
    assert lines[:4] == [
        "<!-- madpipe report -->",
        "## madpipe: pass",
        "",
        "3 of 3 gates passed",
    ]
    assert "| student | 0.9800 | 1.0000 | 0.0200 | 0.9850 | 540 |" in lines
    assert "| 1 | 0.500 | 0.200 | 0.100 | 0.700 | 5.00 | 4.50 to 5.50 | 2.00 | 400 |" in lines
    assert "| teacher to student | 5 | 1 | 6 | a (-5/+0 of 240) |" in lines


def test_markdown_never_calls_agreement_on_the_bank_accuracy(report: Report) -> None:
    made = report()
    made |= {"bank_agreement": made["agreement"], "accuracy": {}, "agreement": {}, "paired": {}}
    text = renderers.render("markdown", made)
    assert "agrees with teacher on synthetic images" in text
    assert "top-1" not in text
    assert "accuracy" not in text


def test_markdown_says_of_a_gate_that_only_warns_that_it_does(report: Report) -> None:
    made = report("gates.speedup.min=50")
    made["gates"][0]["severity"] = "warn"
    text = renderers.render("markdown", made)
    assert text.splitlines()[1] == "## madpipe: pass"
    assert "| speedup | warn: fail |" in text


def test_markdown_tables_are_whole(report: Report) -> None:
    made = report()
    made["stages"][0]["metrics"] = {"a|b": "c|d\ne"}
    rows = [
        line
        for line in renderers.render("markdown", made).splitlines()
        if line.startswith("| distill")
    ]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 5
    assert rows[0].endswith(" |")


def test_engines_that_were_tried_are_a_table(report: Report) -> None:
    made = report()
    assert "| candidate |" not in renderers.render("markdown", made)
    made["candidates"] = [
        {
            "backend": "b", "precision": "int8", "float_layers": ["first"], "disagreement": 0.02,
            "p50_ms": None, "bytes": 1, "build_s": 1.0, "verdict": "missed", "reason": "too many",
        }
    ]  # fmt: skip
    assert "| b | int8, 1 layers fp32 |  | 0.0200 | missed | too many |" in renderers.render(
        "markdown", made
    )
    assert "too many" in renderers.render("html", made)
