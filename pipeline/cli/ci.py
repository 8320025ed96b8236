"""Telling the CI system that a command runs in what came of it."""

import os
from collections.abc import Sequence

from pipeline.errors import StoreError
from pipeline.gates.judge import Verdict
from pipeline.project import Project

_VARIABLES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


def tell_ci(project: Project, verdicts: Sequence[Verdict] | None = None) -> None:
    """Annotate and summarise the last run, where GitHub runs this; elsewhere do nothing."""
    if not any(os.environ.get(name) for name in _VARIABLES):
        return
    from pipeline.report import github  # noqa: PLC0415  (only a workflow pays for the report)
    from pipeline.report.document import document  # noqa: PLC0415

    try:
        report = document(project, verdicts)
    except StoreError:
        return  # nothing has run: the command itself says so
    github.tell(report)
