"""What several commands share: options, opening a project, writing results, and the CI report."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline import exit_codes, run_records, texts
from pipeline.atomic import write_bytes
from pipeline.cache.entry import Entry
from pipeline.cache.keys import differences
from pipeline.cli import completion, torchrun
from pipeline.errors import ConfigError, StoreError, UsageError
from pipeline.gates.judge import Verdict
from pipeline.planner import ALL
from pipeline.project import Project, home_of
from stages.catalog import declare
from stages.completed_settings import complete

Config = Annotated[Path, typer.Option(help="The settings file.", show_default="pipeline.toml")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, e.g. distill.rounds=200.",
        autocompletion=completion.settings,
    ),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="STAGE",
        help="Run this stage although it is stored; or all.",
        autocompletion=completion.stages_or_all,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Inconclusive = Annotated[
    Literal["pass", "fail"] | None,
    typer.Option(help="Take a gate that cannot decide as passed or failed, instead of exit 4."),
]
STAGE_OPTIONS = ("config", "set_", "force", "as_json")
"""Parameters that run a stage, and so have a meaning where a command has no file to work on."""
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]

DEFAULT_CONFIG = Path("pipeline.toml")
_OF_NO_RESULT = {"gates", "compare", "run", "track", "cache"}
"""Tables of the settings that no stage depends on."""


def open_project(config: Path, overrides: Sequence[str] | None) -> Project:
    """Read the settings, declare the stages and name the working folder.

    Raises:
        ConfigError: The settings are wrong, also for the processes that torchrun started.
        UsageError: torchrun started other processes than the settings say.
        StoreError: The working folder is of a newer layout.
    """
    changes = tuple(overrides or ())
    project = Project.open(config, changes, declare, complete)
    size = torchrun.world_size()
    if size is None or project.settings.distill.processes == size:
        return project
    processes = project.settings.distill.processes
    is_set = any(change.partition("=")[0].strip() == "distill.processes" for change in changes)
    if is_set or processes != 1:
        wrong = f"torchrun started {size} processes, the settings say {processes}"
        raise UsageError("distill.processes", wrong, "start as many, or leave the setting out")
    try:
        return Project.open(config, (*changes, f"distill.processes={size}"), declare, complete)
    except ConfigError as error:
        faults = [fault.removeprefix("--set ") for fault in error.faults]
        advice = f"or start another number with torchrun ({size} now)"
        raise ConfigError([f"{fault}, {advice}" for fault in faults]) from error


def working_folder(config: Path) -> Path:
    """Return the working folder beside a settings file, which is there where it was named.

    Raises:
        ConfigError: It is not.
    """
    if config != DEFAULT_CONFIG and (config.is_dir() or not config.exists()):
        raise ConfigError([f"{config}: no such file; correct --config or leave it out"])
    return home_of(config)


def open_last_run(config: Path, overrides: Sequence[str] | None) -> Project:
    """Open the project of a command that speaks of the last run, and whose settings are that run's.

    Raises:
        ConfigError, StoreError, UnavailableError: As `open_project` does.
        UsageError: An override of what the run depended on is not what it had.
    """
    project = open_project(config, overrides)
    run = run_records.latest(project.store)
    keys = (
        {stage.name: stage.key for stage in run.stages if stage.status != "failed"} if run else {}
    )
    check_settings(
        project, {name: project.store.read(name, key) for name, key in keys.items() if key}
    )
    return project


def check_settings(project: Project, entries: Mapping[str, Entry | None]) -> None:
    """Make sure that overrides of the settings are those by which entries came about.

    Raises:
        UsageError: An override of what a stage depends on is not what its entry had.
    """
    tables = {change.strip().partition(".")[0] for change in project.overrides}
    if tables <= _OF_NO_RESULT:
        return
    try:
        planned = project.plan([ALL])
    except ConfigError:  # files that the run needed may be gone since
        return
    for item in planned:
        entry = entries.get(item.stage.name)
        if entry is None or item.key_document is None:
            continue
        before = entry.record.key_document.get("settings", {})
        if lines := differences(before, item.key_document["settings"]):
            raise UsageError(
                "--set",
                f"is not what the last run had ({item.stage.name}: {lines[0]})",
                "madpipe run all with the same --set first; what is stored does not run again",
            )


def check_unused(context: typer.Context, option: str, used: Collection[str]) -> None:
    """Make sure that a command without `option`, which names its file, has no other of its options.

    `used` are the parameters that have a meaning all the same.

    Raises:
        UsageError: One was given, which would be ignored.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in used and source is not None and source.name == "COMMANDLINE":
            raise UsageError(
                parameter.opts[0],
                f"has no meaning without {option} ({context.params[name]})",
                f"give {option}, or set it in pipeline.toml where the pipeline has it",
            )


def inconclusive_code(choice: str | None) -> int:
    """Return the exit code of a gate that cannot decide."""
    codes = {"pass": exit_codes.DONE, "fail": exit_codes.GATE_FAILED}
    return codes.get(choice or "", exit_codes.GATE_INCONCLUSIVE)


def write(text: str) -> None:
    """Write lines to standard output; none is a command to a terminal or to a workflow."""
    typer.echo(texts.screen_text(text))


def write_note(text: str) -> None:
    """Write what the user should know beside a result to standard error."""
    typer.echo(texts.screen_text(text), err=True)


def write_json(value: Any) -> None:
    """Write one value to standard output as readable JSON."""
    lines = json.dumps(value, indent=2, default=str).split("\n")
    write("\n".join(map(texts.json_line, lines)))


def write_columns(rows: Sequence[Sequence[str]]) -> None:
    """Write rows to standard output in aligned columns."""
    written = [[texts.printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    for row in written:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        write("  ".join(cells).rstrip())


def write_file(path: Path, text: str, *, remedy: str) -> None:
    """Write a file that the command line names.

    Raises:
        StoreError: It cannot be written.
    """
    if path.is_dir():
        raise StoreError(str(path), "is a folder", remedy)
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise StoreError(str(path), f"cannot be written ({error.strerror})", remedy) from error


def report_to_ci(project: Project, verdicts: Sequence[Verdict] | None = None) -> None:
    """Annotate and summarise the last run, where GitHub runs this; elsewhere do nothing."""
    if not (os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITHUB_STEP_SUMMARY")):
        return
    from pipeline.report import github  # noqa: PLC0415  (only a workflow pays for the report)
    from pipeline.report.document import document  # noqa: PLC0415

    try:
        report = document(project, verdicts)
    except StoreError:
        return  # nothing has run: the command itself reports it
    github.publish(report)
