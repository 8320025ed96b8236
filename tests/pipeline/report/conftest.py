"""Reports of real runs of fake stages."""

from collections.abc import Callable

import pytest

from pipeline.errors import StageError
from pipeline.project import Project
from pipeline.report.document import document
from pipeline.report.records import Report
from pipeline.run_pipeline import run_pipeline
from tests.measurements import ON_THE_BANK, ON_UNLABELLED

Open = Callable[..., Project]


@pytest.fixture
def report(project: Open) -> Callable[..., Report]:
    """Run a project of fake stages with some settings and return its report."""

    def make(*overrides: str) -> Report:
        opened = project(*overrides)
        run_pipeline(opened, ["all"], force=(), sinks=[], command="run <all>", inconclusive=4)
        return document(opened)

    return make


@pytest.fixture
def failed(project: Open, code: Callable[..., None]) -> Callable[[str], Report]:
    """Return the report of a run whose first stage raised with some text."""

    def make(text: str) -> Report:
        opened = project()
        code(f"def distill(ctx):\n    raise ValueError({text!r})\n")
        with pytest.raises(StageError):
            run_pipeline(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
        return document(opened)

    return make


@pytest.fixture
def on_the_bank(project: Open) -> Report:
    """The report of a run without labelled images."""
    opened = project(measured=ON_THE_BANK)
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    return document(opened)


@pytest.fixture
def on_unlabelled(project: Open) -> Report:
    """The report of a run that used unlabelled images."""
    opened = project("distill.images=images", measured=ON_UNLABELLED)
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    return document(opened)
