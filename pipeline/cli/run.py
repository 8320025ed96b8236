"""Commands that run stages or explain what a run would do: run, distill, plan, status, why."""

import contextlib
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from pipeline import estimates
from pipeline.cache.store import Store
from pipeline.cli import common, completion, preprocessing_options
from pipeline.cli.common import DEFAULT_CONFIG, Config, Force, Inconclusive, Json, Set
from pipeline.cli.preprocessing_options import Strict
from pipeline.errors import MadpipeError, StageError
from pipeline.estimates import Estimate
from pipeline.image_size import setting_text
from pipeline.planner import ALL, Planned, named, reasons_for, selected
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from pipeline.screen import formatting
from pipeline.screen.plain import choose_screen

Stages = Annotated[
    list[str],
    typer.Argument(
        metavar="all | STAGE...",
        help="Stages to run, or all.",
        autocompletion=completion.stages_or_all,
    ),
]

Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke",
        help="Play a few rounds, steps and images of each stage in a folder of their own: judges "
        "nothing, and says how long the real run will take.",
    ),
]

Size = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="N|HxW",
        help="Pixels of the images, as --set data.image_size_px: 96, or 96x128 of height and "
        "width.",
    ),
]

Memory = Annotated[
    bool | None,
    typer.Option(
        "--memory/--no-memory",
        help="Estimate the memory of training steps, and the batch and image size that 8 GiB hold, "
        "which imports torch (seconds). Else only where steps are large and nothing was measured.",
    ),
]

StageName = Annotated[
    str,
    typer.Argument(metavar="STAGE", help="The stage to explain.", autocompletion=completion.stages),
]


def run(
    targets: Stages,
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    force: Force = None,
    inconclusive: Inconclusive = None,
    *,
    as_json: Json = False,
    smoke: Smoke = False,
    strict: Strict = False,
    image_size: Size = None,
) -> NoReturn:
    """Run stages and all that they need; what is stored is not run again.

    The stages are teacher, distill, export, build and validate. After validate the gates judge.
    """
    changes = [*(set_ or ()), *(["teacher.strict=true"] * strict)]
    if image_size is not None:
        size = preprocessing_options.size_of(image_size)
        changes.append(f"data.image_size_px={setting_text(size)}")
    project = common.open_project(config, changes)
    try:
        with (
            contextlib.closing(choose_screen(as_json=as_json)) as screen,
            contextlib.ExitStack() as on,
        ):
            if as_json:  # a library of the user's network may print, and nothing but JSON is wanted
                on.enter_context(contextlib.redirect_stdout(sys.stderr))
            code = run_pipeline(
                project,
                targets,
                force=force or (),
                sinks=[screen],
                command=shlex.join(["madpipe", *sys.argv[1:]]),
                inconclusive=common.inconclusive_code(inconclusive),
                is_smoke=smoke,
            )
    except StageError:
        if not smoke:
            common.report_to_ci(project)
        raise
    if smoke:
        if "build" in {stage.name for stage in selected(project.stages, targets)}:
            package_smoke(project.as_smoke().store)
    else:
        common.report_to_ci(project)
    raise typer.Exit(code)


def package_smoke(store: Store) -> None:
    """Pack the engine that a smoke run built into its working folder, and say where it is."""
    from stages.packaging import archive, contents  # noqa: PLC0415  (only a smoke run packs here)

    entry = store.newest("build")
    assert entry is not None
    _, files = contents.collect(entry.path, place="the built engine", name=None, report=None)
    package = store.home / "package"
    archive.write(files, package, overwrite=True)
    common.write_note(f"the smoke run's engine is packaged in {package}")


def distill(
    config: Config = DEFAULT_CONFIG, set_: Set = None, force: Force = None, *, as_json: Json = False
) -> None:
    """Distil the student from the teacher, without its data (the same as run distill)."""
    run(["distill"], config, set_, force, as_json=as_json)


def plan(
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    *,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Show for each stage whether it is stored or has to run, and why. Runs nothing.

    A file of yours that makes a network is run for --memory alone.
    """
    project = common.open_project(config, set_)
    planned = project.plan([ALL])
    rates = estimates.load(project.store.home)
    expected = {
        item.stage.name: estimates.estimate(item.stage, project.settings, rates)
        for item in planned
        if item.action != "hit"
    }
    measured = {name for name, item in expected.items() if item and item.memory_bytes}
    steps = _step_memory(planned, project, measured, is_wanted=memory)
    if as_json:
        common.write_json(
            [
                _plan_record(item)
                | _expected(item, expected)
                | {"step_memory": steps.get(item.stage.name)}
                for item in planned
            ]
        )
        return
    for item in planned:
        first, *rest = item.reasons or ("stored",)
        common.write(f"{item.stage.name:<9} {item.action:<7} {first}")
        for reason in rest:
            common.write(f"{'':<17} {reason}")
    for name, fields in steps.items():
        common.write(f"{name:<9} memory  {formatting.step_memory(fields)}")
    if expected:
        text = formatting.estimate(estimates.as_fields(expected))
        common.write(f"{'madpipe':<9} takes   {text}")


def _step_memory(
    planned: Sequence[Planned],
    project: Project,
    measured: Collection[str],
    *,
    is_wanted: bool | None,
) -> dict[str, dict[str, Any]]:
    """Return what steps of the stages that will train hold, or why that is not known."""
    from stages import planned_memory  # noqa: PLC0415  (only a plan asks)

    steps: dict[str, dict[str, Any]] = {}
    settings = project.settings
    for stage in (item.stage for item in planned if item.action != "hit"):
        if not planned_memory.trains(stage, settings) or is_wanted is False:
            continue
        is_known = stage.name in measured or not planned_memory.may_be_large(stage, settings)
        if is_known and not is_wanted:
            continue
        if not is_wanted and (file := planned_memory.users_file(stage)):
            # A plan is looked at before anything of a stranger's folder is run.
            text = f"a plan runs no code of yours ({file}); madpipe plan --memory does"
            steps[stage.name] = {"unknown": text}
            continue
        try:
            steps[stage.name] = msgspec.structs.asdict(planned_memory.of_stage(stage, settings))
        except MadpipeError as error:
            steps[stage.name] = {"unknown": str(error)}
    return steps


def _expected(item: Planned, expected: Mapping[str, Estimate | None]) -> dict[str, Any]:
    """Return how long a stage that is to run will take, as far as it is known."""
    known = expected.get(item.stage.name)
    return {
        "expected_seconds": known.seconds if known else None,
        "expected_memory_bytes": known.memory_bytes if known else None,
    }


def _plan_record(item: Planned) -> dict[str, Any]:
    name = item.stage.name
    return {"name": name, "action": item.action, "reasons": item.reasons, "key": item.key}


def status(config: Config = DEFAULT_CONFIG, set_: Set = None, *, as_json: Json = False) -> None:
    """Show what is stored of each stage: when it ran, how long, and its figures."""
    project = common.open_project(config, set_)
    records = []
    for stage in project.stages:
        entry = project.store.newest(stage.name)
        record: dict[str, Any] = {
            "name": stage.name,
            "stored": entry is not None,
            "unfinished": project.store.has_unfinished(stage.name),
        }
        if entry is not None:
            stored = entry.record
            record |= {
                "key": stored.key,
                "created_utc": stored.created_utc,
                "seconds": round(stored.seconds, 3),
                "bytes": sum(output.bytes for output in stored.outputs.values()),
                "metrics": stored.metrics,
                "path": str(entry.path),
            }
        records.append(record)
    if as_json:
        common.write_json({"home": str(project.store.home), "stages": records})
        return
    common.write(f"working folder: {project.store.home}")
    if project.has_smoke:
        common.write(f"a smoke run, which judges nothing, is in {project.as_smoke().store.home}")
    for record in records:
        if record["unfinished"]:
            common.write(
                f"{record['name']:<9} an unfinished run, which goes on from its checkpoint"
            )
        if not record["stored"]:
            if not record["unfinished"]:
                common.write(f"{record['name']:<9} nothing stored")
            continue
        common.write(
            f"{record['name']:<9} {record['created_utc']}"
            f"  {formatting.duration(record['seconds']):>8}"
            f"  {formatting.size(record['bytes']):>9}  {formatting.metrics(record['metrics'])}"
        )


def why(
    stage: StageName, config: Config = DEFAULT_CONFIG, set_: Set = None, *, as_json: Json = False
) -> None:
    """Show what in a stage's key differs from its newest stored run."""
    project = common.open_project(config, set_)
    named(project.stages, [stage], allow_all=False)
    item = next(item for item in project.plan([stage]) if item.stage.name == stage)
    reasons = list(item.reasons)
    if item.key_document is not None and item.action == "resume" and project.store.newest(stage):
        reasons += reasons_for(item.stage, item.key_document, project.store)
    if as_json:
        common.write_json(_plan_record(item) | {"reasons": reasons})
        return
    if item.action == "hit":
        common.write(f"{stage}: stored, nothing differs")
    for reason in reasons:
        common.write(f"{stage}: {reason}")
