"""The command that packs an engine to be deployed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Out, Set
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from pipeline.report.records import Report

Engine = Annotated[
    Path | None,
    typer.Option(
        "--engine",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder with an engine and manifest.json; absent: that of the last run.",
    ),
]
Name = Annotated[str | None, typer.Option("--name", help="Of the model; absent: its architecture.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]


def package(
    engine: Engine = None,
    out: Out = None,
    name: Name = None,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    *,
    overwrite: Overwrite = False,
) -> None:
    """Pack an engine with its card, labels, example and Triton folder; --out may be an archive."""
    report = _report(config, set_) if engine is None or config.exists() else None
    folder = engine or _engine_folder(report, config)
    place = "--engine" if engine else "the built engine"
    from stages.packaging import archive, contents  # noqa: PLC0415  (only this command needs them)

    package_name, files = contents.collect(folder, place=place, name=name, report=report)
    target = out or Path(package_name)
    archive.write(files, target, overwrite=overwrite)
    typer.echo(f"{target}  {len(files)} files")


def _report(config: Path, set_: list[str] | None) -> "Report | None":
    """Return the document of the last run, None where nothing has run."""
    from pipeline.report.document import document  # noqa: PLC0415

    try:
        return document(common.open_project(config, set_))
    except StoreError:
        return None


def _engine_folder(report: "Report | None", config: Path) -> Path:
    """Return the folder of the last run's engine, built then or stored before."""
    for stage in report.stages if report else ():
        if stage.name == "build" and "engine" in stage.outputs:
            return Path(stage.outputs["engine"].path).parent
    raise StoreError(
        str(config), "its last run has no engine (none stored)", "madpipe run all, or give --engine"
    )
