"""Every form of the report says the same, and stands by itself."""

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pipeline.errors import StageError
from pipeline.execute import execute
from pipeline.project import Project
from pipeline.report import forms
from pipeline.report.document import document

Open = Callable[..., Project]
Report = Callable[..., dict[str, Any]]


@pytest.fixture
def report(project: Open) -> Report:
    """Run a project of fake stages with some settings and return its report."""

    def make(*overrides: str) -> dict[str, Any]:
        opened = project(*overrides)
        execute(opened, ["all"], force=(), sinks=[], command="run <all>", inconclusive=4)
        return document(opened)

    return make


@pytest.fixture
def failed(project: Open, code: Callable[..., None]) -> Callable[[str], dict[str, Any]]:
    """Return the report of a run whose first stage raised with some text."""

    def make(text: str) -> dict[str, Any]:
        opened = project()
        code(f"def distill(ctx):\n    raise ValueError({text!r})\n")
        with pytest.raises(StageError):
            execute(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
        return document(opened)

    return make


MIXED = ("gates.speedup.min=5", "gates.engine_bytes.max=9", "gates.onnx_top1_drop.max=0.1")


def counts(text: str) -> dict[str, str | None]:
    suite = ET.fromstring(text.partition("\n")[2]).find("testsuite")  # noqa: S314  (our own text)
    assert suite is not None
    return {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}


def test_json_is_the_document(report: Report) -> None:
    made = report()
    assert json.loads(forms.render("json", made)) == made


def test_junit_counts_verdicts_of_every_kind(report: Report) -> None:
    made = report(*MIXED)
    made["gates"][2] |= {"verdict": "skipped", "value": None, "interval": None}
    assert counts(forms.render("junit", made)) == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }


def test_junit_gives_each_gate_its_figures(report: Report) -> None:
    text = forms.render("junit", report("gates.speedup.min=50"))
    root = ET.fromstring(text.partition("\n")[2])  # noqa: S314  (our own text)
    case = root.find("testsuite/testcase[@name='speedup']")
    assert case is not None
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties == {"value": "5.0", "low": "4.6", "high": "5.4", "threshold": "50.0"}
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "5 in [4.6, 5.4], wanted at least 50, n = 400"


def test_junit_of_a_failed_stage_is_an_error_with_its_message(
    failed: Callable[[str], dict[str, Any]],
) -> None:
    text = forms.render("junit", failed("no <luck> & no more"))
    assert counts(text) == {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    assert "no &lt;luck&gt; &amp; no more" in text


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "a\0b", "\ufffe", "two\nlines"])
def test_junit_is_xml_whatever_a_stage_says(
    failed: Callable[[str], dict[str, Any]], text: str
) -> None:
    assert counts(forms.render("junit", failed(text)))["errors"] == "1"


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


def test_html_needs_no_network(report: Report) -> None:
    page = forms.render("html", report(*MIXED))
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="data:image/png;base64,' in page
    assert "<script" not in page


def test_html_says_the_verdict_first_and_shows_every_part(report: Report) -> None:
    page = forms.render("html", report("gates.speedup.min=50"))
    assert page.index("Failed") < page.index("<h2>Gates</h2>") < page.index("<h2>Accuracy</h2>")
    assert page.index("<h2>Latency</h2>") < page.index("<h2>Stages</h2>")
    assert "too few samples" in page
    assert "params 77 850" in page


def test_html_shows_texts_as_texts(report: Report) -> None:
    made = report()
    made["stages"][0]["metrics"] = {"note": "<script>alert(1)</script>"}
    page = forms.render("html", made)
    assert "<script>" not in page
    assert "run &lt;all&gt;" in page


@pytest.mark.parametrize("form", ["html", "junit", "markdown", "json"])
def test_failed_run_has_every_form_and_says_why(
    failed: Callable[[str], dict[str, Any]], form: str
) -> None:
    text = forms.render(form, failed("no luck"))
    assert "distill" in text
    assert "no luck" in text


@pytest.mark.parametrize("form", ["html", "junit", "markdown", "json"])
def test_run_without_measurements_has_every_form(project: Open, form: str) -> None:
    opened = project()
    execute(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    assert "distill" in forms.render(form, document(opened)) or form == "junit"


def test_picture_that_is_gone_is_left_out(report: Report) -> None:
    made = report()
    made["stages"][0]["outputs"]["picture"]["path"] = "/no/such/picture.png"
    assert "<img" not in forms.render("html", made)
