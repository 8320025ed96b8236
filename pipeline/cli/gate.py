"""Commands on stored measurements: gate, compare and report."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Inconclusive, Json, Set
from pipeline.errors import MadpipeError
from pipeline.gates.compare import compare as compare_runs
from pipeline.gates.judge import exit_code
from pipeline.gates.stored_runs import find_run
from pipeline.report.records import Form
from pipeline.run_pipeline import emit_verdicts
from pipeline.screen.plain import JsonScreen, PlainScreen
from pipeline.texts import json_line

_JSON = frozenset(
    {"json", "gitlab-codequality", "bencher", "github-benchmark-smaller", "github-benchmark-bigger"}
)
"""Forms of a report that are JSON."""

Format = Annotated[
    Form | None,
    typer.Option("--format", help="Format; without it the page is written and a text printed."),
]

ReportOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The file to write, - for standard output; absent: report.html in the working folder, "
        "or standard output for other formats.",
    ),
]

WithoutPictures = Annotated[
    bool,
    typer.Option("--without-pictures", help="Leave all images, real and synthetic, out of a page."),
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
    stages = [stage.name for stage in project.stages]
    common.check_settings(project, {name: project.store.newest(name) for name in stages})
    verdicts = project.verdicts()
    emit_verdicts(verdicts, [JsonScreen() if as_json else PlainScreen()])
    if not verdicts:
        common.write_note("nothing was judged: the settings have no gates")
    common.report_to_ci(project, verdicts)
    raise typer.Exit(exit_code(verdicts, common.inconclusive_code(inconclusive)))


def compare(
    base: Annotated[str, typer.Argument(metavar="A", help="The run to measure against.")],
    head: Annotated[str, typer.Argument(metavar="B", help="The run to judge.")],
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    inconclusive: Inconclusive = None,
    out: Annotated[Path | None, typer.Option(help="Write it as Markdown here, too.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Judge run B against run A from what both stored, by the bounds of the table compare.

    Each is a run's id (a file in the working folder's runs), a working folder, a report.json, or
    the folder of a baseline.
    """
    from pipeline.report import comparison, github  # noqa: PLC0415  (only this command)

    project = common.open_project(config, set_)

    def publish(lines: list[str], text: str) -> None:
        if out:
            common.write_file(out, text, remedy="give another path with --out")
        github.publish_lines(lines, lambda: text)

    try:
        before, after = find_run(base, project.store), find_run(head, project.store)
    except MadpipeError as error:
        why = str(error)
        publish([github.annotation("warning", "not compared", why)], comparison.not_compared(why))
        raise
    verdicts = compare_runs(before, after, project.settings.compare)
    emit_verdicts(verdicts, [JsonScreen() if as_json else PlainScreen()])
    if statement := comparison.other_teachers(before, after):
        common.write_note(statement)
    lines = github.verdict_annotations(verdicts, " against the baseline")
    publish(lines, comparison.render(before, after, verdicts))
    raise typer.Exit(exit_code(verdicts, common.inconclusive_code(inconclusive)))


def report(
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    form: Format = None,
    out: ReportOut = None,
    *,
    without_pictures: WithoutPictures = False,
) -> None:
    """Report on the last run: HTML into a file, all other formats printed without --out or for -.

    Without a format the page goes into the working folder, and a summary in Markdown is printed.
    The page holds held-out images that were got wrong: share it as you may share them, or leave
    all images out by --without-pictures.
    """
    from pipeline.report import markdown  # noqa: PLC0415  (only this command)
    from pipeline.report.document import document  # noqa: PLC0415
    from pipeline.report.forms import render  # noqa: PLC0415

    project = common.open_last_run(config, set_)
    written = document(project)
    text = render(form or "html", written, project, has_pictures=not without_pictures)
    if out == Path("-") or (out is None and form not in {None, "html"}):
        lines = text.split("\n")
        common.write("\n".join(map(json_line, lines)) if form in _JSON else text)
        return
    path = out or project.store.home / "report.html"
    common.write_file(path, text, remedy="give another path with --out")
    if out is None and form is None:
        common.write(markdown.render(written))
        common.write_note(f"the same as a page: {path}")
    else:
        common.write(os.fspath(path))
