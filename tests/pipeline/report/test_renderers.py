"""Every form of the report says the same, and stands by itself."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.project import Project
from pipeline.report import renderers
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline

Open = Callable[..., Project]
Report = Callable[..., dict[str, Any]]


def test_json_is_the_document(report: Report) -> None:
    made = report()
    assert json.loads(renderers.render("json", made)) == made


@pytest.mark.parametrize("form", ["html", "junit", "markdown", "json"])
def test_failed_run_has_every_form_and_says_why(
    failed: Callable[[str], dict[str, Any]], form: str
) -> None:
    text = renderers.render(form, failed("no luck"))
    assert "distill" in text
    assert "no luck" in text


@pytest.mark.parametrize("form", ["html", "junit", "markdown", "json"])
def test_run_without_measurements_has_every_form(project: Open, form: str) -> None:
    opened = project()
    run_pipeline(opened, ["distill"], force=(), sinks=[], command="run", inconclusive=4)
    assert "distill" in renderers.render(form, document(opened)) or form == "junit"
