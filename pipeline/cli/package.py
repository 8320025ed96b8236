"""The command package: an engine with all that its users need, as a folder or an archive."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Out, Overwrite, Set
from pipeline.cli.files import Engine
from pipeline.errors import StoreError

Name = Annotated[str | None, typer.Option(help="Of the model; absent: its architecture.")]


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
    from pipeline.report.document import document  # noqa: PLC0415  (only this command needs it)
    from stages.packaging import archive, contents  # noqa: PLC0415

    report = None
    if engine is not None:
        place, folder = "--engine", engine
        if config.exists():
            with contextlib.suppress(StoreError):  # nothing has run, or not this engine
                report = document(common.open_project(config, set_))
    else:
        project = common.open_project(config, set_)
        report, place = document(project), "the built engine"
        built = [stage.outputs["engine"] for stage in report.stages if "engine" in stage.outputs]
        if not built:
            remedy = "madpipe run all, or give --engine"
            raise StoreError(
                str(config), f"its last run has no engine ({project.none_stored})", remedy
            )
        folder = Path(built[-1].path).parent
    package_name, files = contents.collect(folder, place=place, name=name, report=report)
    target = out or Path(package_name)
    archive.write(files, target, overwrite=overwrite)
    typer.echo(f"{target}  {len(files)} files; in it, python run.py IMAGE names an image's class")
