"""A pull-request comment begins with the verdict, and its tables are whole."""

from collections.abc import Callable
from functools import partial
from html import escape as escape_html

import pytest
from markdown_it import MarkdownIt

from pipeline.gates.build_records import Candidate
from pipeline.report import html, markdown
from pipeline.report.records import Report
from pipeline.texts import printable
from tests.measurements import changed

Make = Callable[..., Report]


def test_markdown_begins_with_the_verdict_and_has_a_marker(report: Make) -> None:
    lines = markdown.render(report()).splitlines()
    assert lines[:4] == [
        "<!-- madpipe report -->",
        "## madpipe: pass",
        "",
        "3 of 3 gates passed",
    ]
    assert "| student | 0.9800 | 1.0000 | 0.0200 | 0.9850 | 540 |" in lines
    assert "| 1 | 0.500 | 0.200 | 0.100 | 0.700 | 5.00 | 4.50 to 5.50 | 2.00 | 400 |" in lines
    assert "| teacher to student | 5 | 1 | 6 | a (-5/+0 of 240) |" in lines


def test_markdown_never_calls_agreement_on_the_bank_accuracy(on_the_bank: Report) -> None:
    text = markdown.render(on_the_bank)
    assert "agrees with teacher on synthetic images" in text
    assert "top-1" not in text
    assert "accuracy" not in text


def test_a_gate_that_only_warns_is_marked(report: Make) -> None:
    warned = changed(report("gates={}", "gates.speedup.min=50"), "gates.0", severity="warn")
    text = markdown.render(warned)
    assert text.splitlines()[1] == "## madpipe: pass"
    assert "| speedup | warn: fail |" in text


def test_markdown_tables_are_whole(report: Make) -> None:
    odd = changed(report(), "stages.0", metrics={"a|b": "c|d\ne"})
    lines = markdown.render(odd).splitlines()
    (row,) = [line for line in lines if line.startswith("| distill")]
    assert row.replace("\\|", "").count("|") == 5
    assert row.endswith(" |")
    assert markdown.table("a | b", []) == []


def test_candidates_of_the_build_are_a_table(report: Make) -> None:
    assert "| candidate |" not in markdown.render(report())
    candidate = Candidate(
        backend="b",
        precision="int8",
        float_layers=("first",),
        disagreement=0.02,
        p50_ms=None,
        bytes=1,
        build_s=1.0,
        verdict="missed",
        reason="too many",
    )
    tried = changed(report(), candidates=[candidate])
    row = "| b | int8, 1 layers fp32 |  | 0.0200 | missed | too many |"
    assert row in markdown.render(tried)
    assert "too many" in html.render(tried)


def test_a_cell_is_no_html_and_no_border() -> None:
    (_, _, row, _) = markdown.table("class | n", [("<b>a|b</b>\n&amp;", 3)])
    assert row == "| &lt;b>a\\|b&lt;/b> &amp;amp; | 3 |"


def test_markdown_says_whether_the_student_is_data_free(
    report: Make, on_unlabelled: Report
) -> None:
    assert "\ndata-free: distilled from" in markdown.render(report())
    text = markdown.render(on_unlabelled)
    assert "\nnot data-free: the student learned from 80 unlabelled images" in text
    assert "| network | agrees with teacher on unlabelled images | n |" in text
    assert "| engine | 0.8500 | 20 |" in text


escape = partial(escape_html, quote=False)
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](https://example.org)",
    "![a](https://example.org/a.png)",
    "[a]: https://example.org",
    "<https://example.org>",
    "a\\|b | c",
    "`a|b`",
    "```",
    "**a** ~~b~~ *c*",
    "\\<b>",
    "&lt;b&gt;",
    "# a",
    "1. a",
    "- a",
    "> a",
    "===",
    "---",
    "a\n\n# b",
    "\x1b]8;;https://example.org\x1b\\\\a",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is_and_marks_nothing_up(text: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    lines = markdown.table("a | b", [(text, "last")])
    (table_head, _, row) = lines[:3]
    assert table_head == "| a | b |"
    cells = f"<td>{escape(printable(' '.join(text.split())))}</td>\n<td>last</td>"
    assert cells in parser.render("\n".join([*lines, ""])).replace("&quot;", '"')
    assert "[" not in row.replace("\\[", "")
    whole = parser.render(f"before\n\n{markdown.paragraph(text)}\n\nafter\n")
    expected = f"<p>before</p>\n<p>{escape(printable(' '.join(text.split())))}</p>\n<p>after</p>\n"
    assert whole.replace("&quot;", '"') == expected


def test_github_links_nothing_of_a_text_by_itself() -> None:
    text = markdown.escaped("https://example.org www.example.org @someone a@example.org #12")
    assert text == (
        "https&#58;//example.org www&#46;example.org @&#8203;someone a@&#8203;example.org "
        "#&#8203;12"
    )
