"""The command `sweep`: one chain for every combination of some settings, compared on one page."""

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Json, Set
from pipeline.errors import StoreError, UsageError
from pipeline.events import Event
from pipeline.planner import named
from pipeline.screen import formatting
from pipeline.screen.sweep_lines import choose_sweep_screen
from pipeline.sweep import page, pareto, records
from pipeline.sweep.cluster import ClusterLauncher
from pipeline.sweep.combinations import Combination, combined
from pipeline.sweep.jobs import LocalLauncher
from pipeline.sweep.records import Row, Sweep
from pipeline.sweep.room import room_for
from pipeline.sweep.run import Plan, run_sweep
from pipeline.sweep.stores import FOLDER
from pipeline.texts import printable, whole_number

Axes = Annotated[
    list[str],
    typer.Argument(
        metavar="KEY=VALUE,VALUE...",
        help="Settings to vary, e.g. student.arch=resnet8,wrn16-1 or distill.alpha=0.5,0.95.",
    ),
]
StageName = Annotated[
    str,
    typer.Option(
        "--to",
        "--stage",
        metavar="STAGE",
        help="The last stage to run; validate measures and judges every combination.",
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        help="Where to write the page, and the same as JSON beside it.",
        show_default="sweep.html in the working folder",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Combinations to train side by side, at most one a GPU, or one a core without GPUs. "
        "Build and validate, which measure time, run one after the other all the same.",
        show_default="1; with --executor slurm all",
    ),
]
Executor = Annotated[
    Literal["local", "slurm"],
    typer.Option(
        help="What runs the jobs; slurm submits them by submitit, which the extra slurm brings."
    ),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="A parameter of submitit's AutoExecutor, e.g. slurm_partition=gpu, gpus_per_node=1, "
        "timeout_min=120; cluster=local tries it without Slurm.",
    ),
]

_Fields = dict[str, Any]


def sweep(
    axes: Axes,
    stage: StageName = "distill",
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    out: Page = None,
    jobs: Jobs = None,
    executor: Executor = "local",
    slurm: Slurm = None,
    *,
    as_json: Json = False,
) -> None:
    """Run the chain for every combination of values, and show side by side what came of it.

    With --to validate the page has the front of accuracy against latency and size, and marks the
    smallest combination that passes every gate. What is stored is not run again, so a sweep can be
    widened or gone on with. The exit code is 1 where a combination failed; with --to validate 3
    where none passes and each has a failed gate, 4 where none passes and more samples might help.
    """
    combinations = _combinations(axes, config, set_ or (), stage)
    command = printable(shlex.join(["madpipe", *sys.argv[1:]]))
    plan = _plan(combinations, stage, command, jobs, executor, slurm or ())
    path = _page_path(out, plan)
    labels = [" ".join(combination.changes) for combination in combinations]
    with (
        contextlib.closing(choose_sweep_screen(labels, as_json=as_json)) as screen,
        contextlib.ExitStack() as on,
    ):
        if as_json:  # a library of the user's network may print, and nothing but JSON is wanted
            on.enter_context(contextlib.redirect_stdout(sys.stderr))
        fields: _Fields = {"combinations": labels, "stage": stage, "jobs": plan.jobs}
        screen(None, Event.now("sweep_started", fields))
        finished, stopped = run_sweep(plan, screen)
        try:
            if out is None:
                plan.store.prepare()
            _write(finished, path)
        except StoreError as error:
            if stopped is None:
                raise
            raise stopped from error  # why it ended comes first
        code = pareto.exit_code(finished.rows, is_judged=finished.is_judged)
        code = stopped.exit_code if stopped else code
        fields = {"exit_code": code, "seconds": finished.elapsed_s, "page": os.fspath(path)}
        fields |= {"smallest": finished.smallest, "options": finished.options}
        screen(None, Event.now("sweep_done", fields))
    if not as_json:
        _print(finished, path)
    if stopped:
        raise stopped
    raise typer.Exit(code)


def _combinations(
    axes: Sequence[str], config: Path, fixed: Sequence[str], stage: str
) -> list[Combination]:
    """Read the settings of every combination before the first one runs.

    Raises:
        ConfigError: The settings of one are wrong.
        UsageError: An axis is no list of values, or the stage is none.
    """
    combinations = []
    for number, changes in enumerate(combined(axes, fixed), start=1):
        project = common.open_project(config, [*fixed, *changes])
        named(project.stages, [stage], allow_all=False)
        combinations.append(Combination(number, changes, project))
    return combinations


def _plan(
    combinations: Sequence[Combination],
    stage: str,
    command: str,
    jobs: int | None,
    executor: Literal["local", "slurm"],
    slurm: Sequence[str],
) -> Plan:
    """Decide who runs what.

    Raises:
        UnavailableError: The cluster is not here.
        UsageError: Parameters of a cluster were named without one, or are none.
    """
    plan = Plan(combinations, stage, command)
    if executor == "slurm":
        folder = plan.store.home / FOLDER / "submitit"
        cluster = ClusterLauncher(folder, _parameters(slurm))
        return plan._replace(launcher=cluster, jobs=jobs or len(combinations))
    if slurm:
        wrong = f"has no meaning without --executor slurm ({slurm[0]})"
        raise UsageError("--slurm", wrong, "give that, or leave it out")
    if jobs is None or jobs == 1:
        return plan
    room = room_for(jobs, combinations)
    plan = plan._replace(notes=room.notes)
    if room.jobs == 1:
        return plan
    launcher = LocalLauncher(threads=room.threads, gpus=room.gpus)
    return plan._replace(launcher=launcher, jobs=room.jobs)


def _parameters(words: Sequence[str]) -> dict[str, str | int]:
    parameters: dict[str, str | int] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise UsageError("--slurm", f"is no KEY=VALUE ({word})", "give a key and a value")
        number = whole_number(value)
        parameters[key] = value if number is None else number
    return parameters


def _page_path(out: Path | None, plan: Plan) -> Path:
    """Return where the page will be; what cannot be written is refused before hours of training.

    Raises:
        UsageError: `out` is no place for a page with a JSON file beside it.
    """
    if out is None:
        return plan.store.home / "sweep.html"
    remedy = "name a file such as sweep.html in a folder that is there"
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError("--out", f"is a folder, or in none ({out})", remedy)
    if (beside := out.with_suffix(".json")).is_dir():
        wrong = f"would have its JSON where a folder is ({beside})"
        raise UsageError("--out", wrong, "give another path, or remove that folder")
    if out.suffix == ".json":
        raise UsageError("--out", f"is where the JSON beside the page would lie ({out})", remedy)
    return out


def _write(finished: Sweep, path: Path) -> None:
    """Write the page, and the same as JSON beside it.

    Raises:
        StoreError: One of them cannot be written.
    """
    remedy = "give another path with --out"
    common.write_file(path.with_suffix(".json"), records.to_json(finished), remedy=remedy)
    common.write_file(path, page.render(finished), remedy=remedy)


def _print(finished: Sweep, path: Path) -> None:
    """Print a table of the combinations, what came of the sweep, and the option to go on with."""
    rows = [_fields(row) for row in finished.rows]
    # Of the settings and figures, those that differ.
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) > 1:
        differs = {name: len({str(row.get(name)) for row in rows}) > 1 for name in names}
        names = [name for name in names if name in {"error", "verdict"} or differs[name]]
    cells = ([_cell(row.get(name)) for name in names] for row in rows)
    common.write_columns([names, *cells])
    for text in page.sentences(finished):
        common.write(text)
    if finished.options:
        common.write(f"  {finished.options}")
    elif finished.is_judged:
        for row in finished.rows:
            for text in row.obstacles:
                common.write(f"  {' '.join(row.changes)}: {text}")
    common.write(f"page: {path}")


def _fields(row: Row) -> _Fields:
    """Return the cells of a combination by the names of their columns."""
    fields: _Fields = dict(change.split("=", 1) for change in row.changes)
    if row.gates:
        fields["verdict"] = page.verdict_word(row)
        if row.loss:
            fields[row.loss.kind] = row.loss.value
            fields["bounds"] = f"[{row.loss.low:.4f}, {row.loss.high:.4f}]"
        fields["latency_ms"] = row.latency_ms.value if row.latency_ms else None
        fields["size"] = None if row.engine_bytes is None else formatting.size(row.engine_bytes)
        fields["front"] = "+".join(row.fronts) or None
    else:
        fields |= {name: v for name, v in row.figures.items() if not isinstance(v, str)}
    if row.state == "done":
        fields["seconds"] = row.seconds
    return fields | ({"error": row.error} if row.error else {})


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
