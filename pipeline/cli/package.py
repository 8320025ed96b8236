"""The command package: an engine with all that its users need, as a folder or an archive."""

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Overwrite, Set
from pipeline.cli.files import Engine
from pipeline.errors import StoreError, UsageError
from pipeline.report.records import Report

PackageOut = Annotated[
    Path | None,
    typer.Option("--out", help="Folder or archive to write; absent: a folder of the model's name."),
]
Name = Annotated[str | None, typer.Option(help="Of the model; absent: its architecture.")]
For = Annotated[
    Literal["server", "web"],
    typer.Option(
        "--for",
        help="server: run.py, an HTTP server, a Dockerfile and Triton's folder; web: a page that "
        "runs the student in a browser.",
    ),
]
WebRuntime = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="For web: the folder of the npm package onnxruntime-web.",
    ),
]


def package(
    engine: Engine = None,
    out: PackageOut = None,
    name: Name = None,
    for_: For = "server",
    web_runtime: WebRuntime = None,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    *,
    overwrite: Overwrite = False,
) -> None:
    """Pack an engine with its card, labels and what runs it; --out may be an archive."""
    from stages.packaging import archive, contents, web  # noqa: PLC0415

    if web_runtime is not None and for_ != "web":
        wrong = f"has no meaning without --for web ({web_runtime})"
        raise UsageError("--web-runtime", wrong, "give --for web, or leave it out")
    folder, place, report = _engine(engine, config, set_)
    if for_ == "web":
        package_name, files, checked = web.collect(
            folder, place=place, name=name, report=report, runtime=web_runtime
        )
        hint = (
            f"onnxruntime-web {checked.onnxruntime_web} gives ONNX Runtime's class on "
            f"{checked.same_class} of {checked.images} random images (logits differ by "
            f"{checked.logit_difference:.2g} of their spread); README.md says how to serve it"
        )
    else:
        package_name, files = contents.collect(folder, place=place, name=name, report=report)
        hint = "in it, python run.py IMAGE names an image's class"
    target = out or Path(package_name)
    archive.write(files, target, overwrite=overwrite)
    common.write(f"{target}  {len(files)} files; {hint}")


def _engine(
    engine: Path | None, config: Path, overrides: list[str] | None
) -> tuple[Path, str, Report | None]:
    """Return the folder of the engine, what named it, and its run's report."""
    from pipeline.report.document import document  # noqa: PLC0415  (only this command needs it)

    report = None
    if engine is not None:
        if config.exists():
            with contextlib.suppress(StoreError):  # nothing has run, or not this engine
                report = document(common.open_project(config, overrides))
        return engine, "--engine", report
    project = common.open_last_run(config, overrides)
    report = document(project)
    built = [stage.outputs["engine"] for stage in report.stages if "engine" in stage.outputs]
    if not built:
        remedy = "madpipe run all, or give --engine"
        raise StoreError(str(config), f"its last run has no engine ({project.none_stored})", remedy)
    return Path(built[-1].path).parent, "the built engine", report
