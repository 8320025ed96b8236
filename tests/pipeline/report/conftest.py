"""Reports of real runs of fake stages."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import StageError
from pipeline.project import Project
from pipeline.report.document import document
from pipeline.run_pipeline import run_pipeline

Open = Callable[..., Project]
Report = Callable[..., dict[str, Any]]


@pytest.fixture
def report(project: Open) -> Report:
    """Run a project of fake stages with some settings and return its report."""

    def make(*overrides: str) -> dict[str, Any]:
        opened = project(*overrides)
        run_pipeline(opened, ["all"], force=(), sinks=[], command="run <all>", inconclusive=4)
        return document(opened)

    return make


@pytest.fixture
def failed(project: Open, code: Callable[..., None]) -> Callable[[str], dict[str, Any]]:
    """Return the report of a run whose first stage raised with some text."""

    def make(text: str) -> dict[str, Any]:
        opened = project()
        code(f"def distill(ctx):\n    raise ValueError({text!r})\n")
        with pytest.raises(StageError):
            run_pipeline(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
        return document(opened)

    return make
