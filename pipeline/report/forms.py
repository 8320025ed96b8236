"""Every form of a report by its name."""

from typing import assert_never

from pipeline.project import VALIDATE, Project, measurements_of
from pipeline.report import benchmarks, gitlab, html, junit, markdown, records
from pipeline.report.figures import figures_of
from pipeline.report.records import Form, Report


def render(form: Form, report: Report, project: Project, *, has_pictures: bool = True) -> str:
    """Return a project's report in a form; the page with its images, or without any.

    Raises:
        StoreError: What it needs of the measurements is damaged.
    """
    match form:
        case "html":
            return html.render(report, has_pictures=has_pictures)
        case "json":
            return records.to_json(report)
        case "markdown":
            return markdown.render(report)
        case "junit":
            return junit.render(report)
        case "gitlab-codequality":
            return gitlab.code_quality(report, project.path)
        case _:
            pass
    key = next((s.key for s in report.stages if s.name == VALIDATE and s.status != "failed"), None)
    entry = project.store.read(VALIDATE, key) if key else None
    figures = figures_of(measurements_of(entry) if entry else None)
    match form:
        case "gitlab-metrics":
            return gitlab.metrics(figures)
        case "bencher":
            return benchmarks.bencher(figures)
        case "github-benchmark-smaller" | "github-benchmark-bigger":
            is_bigger = form == "github-benchmark-bigger"
            return benchmarks.github_benchmark(report, figures, is_bigger_better=is_bigger)
        case _:
            assert_never(form)
