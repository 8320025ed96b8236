"""Commands on stored measurements: gate, compare and report."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Inconclusive, Json, Out, Set
from pipeline.gates.compare import compare as compare_runs
from pipeline.gates.compare import find_run
from pipeline.gates.judge import exit_code
from pipeline.run_pipeline import emit_verdicts
from pipeline.screen.plain import JsonScreen, PlainScreen

Format = Annotated[
    Literal["html", "json", "markdown", "junit"],
    typer.Option("--format", help="Format of the report."),
]


def gate(
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    inconclusive: Inconclusive = None,
    *,
    as_json: Json = False,
) -> None:
    """Judge the stored measurements by the gates, measuring nothing."""
    project = common.open_project(config, set_)
    verdicts = project.verdicts()
    emit_verdicts(verdicts, [JsonScreen() if as_json else PlainScreen()])
    common.report_to_ci(project, verdicts)
    raise typer.Exit(exit_code(verdicts, common.inconclusive_code(inconclusive)))


def compare(
    base: Annotated[str, typer.Argument(metavar="A", help="The run to measure against.")],
    head: Annotated[str, typer.Argument(metavar="B", help="The run to judge.")],
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    inconclusive: Inconclusive = None,
    *,
    as_json: Json = False,
) -> None:
    """Judge run B against run A from what both stored, by the bounds of the table compare.

    Each is a run's id (a file in the working folder's runs), a working folder, or a report.json.
    """
    project = common.open_project(config, set_)
    runs = find_run(base, project.store), find_run(head, project.store)
    verdicts = compare_runs(*runs, project.settings.compare)
    emit_verdicts(verdicts, [JsonScreen() if as_json else PlainScreen()])
    raise typer.Exit(exit_code(verdicts, common.inconclusive_code(inconclusive)))


def report(
    config: Config = DEFAULT_CONFIG, set_: Set = None, form: Format = "html", out: Out = None
) -> None:
    """Write the report of the last run; --out - prints it, as JSON is without --out."""
    from pipeline.report import html, junit, markdown, records  # noqa: PLC0415  (only this command)
    from pipeline.report.document import document  # noqa: PLC0415

    project = common.open_project(config, set_)
    render, file = {
        "html": (html.render, "report.html"),
        "json": (records.to_json, "report.json"),
        "junit": (junit.render, "junit.xml"),
        "markdown": (markdown.render, "report.md"),
    }[form]
    text = render(document(project))
    if (out is None and form == "json") or out == Path("-"):
        typer.echo(text)
        return
    path = out or project.store.home / file
    common.write_file(path, text, remedy="give another path with --out")
    typer.echo(os.fspath(path))
