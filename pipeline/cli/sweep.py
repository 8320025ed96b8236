"""The command `sweep`: one stage for every combination of some settings, and a table of figures."""

import contextlib
import itertools
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pipeline import exit_codes
from pipeline.cli import common
from pipeline.cli.common import DEFAULT_CONFIG, Config, Json, Set
from pipeline.errors import Interrupted, MadpipeError, UsageError
from pipeline.planner import named
from pipeline.run_pipeline import run_pipeline
from pipeline.screen.plain import PlainScreen, choose_screen

Axes = Annotated[
    list[str],
    typer.Argument(
        metavar="KEY=VALUE,VALUE...", help="Settings to vary, e.g. distill.alpha=0.5,0.95."
    ),
]
StageName = Annotated[str, typer.Option("--stage", help="The stage whose figures to compare.")]

Row = dict[str, Any]


def sweep(
    axes: Axes,
    stage: StageName = "distill",
    config: Config = DEFAULT_CONFIG,
    set_: Set = None,
    *,
    as_json: Json = False,
) -> None:
    """Run a stage for every combination of values and show its figures side by side.

    What is stored is not run again, so a sweep can be widened or gone on with. A combination
    that fails is a row of the table, and the exit code is 1 then.
    """
    combinations = _combinations(axes, set_ or ())
    # Every combination is read before the first one runs.
    for combination in combinations:
        stages = common.open_project(config, [*(set_ or ()), *combination]).stages
        named(stages, [stage], allow_all=False)
    rows = []
    for number, combination in enumerate(combinations, start=1):
        if not as_json:
            typer.echo(f"[{number}/{len(combinations)}] {' '.join(combination)}")
        rows.append(_row(combination, stage, config, set_, as_json=as_json))
    if as_json:
        common.write_json(rows)
    else:
        # Of the settings and figures, those that differ.
        names = list(dict.fromkeys(name for row in rows for name in row))
        if len(rows) > 1:
            differs = {name: len({str(row.get(name)) for row in rows}) > 1 for name in names}
            names = [name for name in names if name == "error" or differs[name]]
        cells = ([_cell(row.get(name)) for name in names] for row in rows)
        common.write_columns([names, *cells])
    is_any_failed = any("error" in row for row in rows)
    raise typer.Exit(exit_codes.FAILED if is_any_failed else exit_codes.DONE)


def _combinations(axes: Sequence[str], fixed: Sequence[str]) -> list[tuple[str, ...]]:
    values = []
    keys = {change.partition("=")[0].strip() for change in fixed}
    for axis in axes:
        key, equals, listed = axis.partition("=")
        if not (key and equals and listed):
            raise UsageError("sweep", f"is no KEY=VALUE,VALUE ({axis})", "give a key and values")
        if key in keys:
            remedy = "name it once, with all its values"
            raise UsageError("sweep", f"is given twice ({key})", remedy)
        keys.add(key)
        values.append([f"{key}={value}" for value in _values(listed)])
    return list(itertools.product(*values))


def _values(listed: str) -> list[str]:
    """Split at commas, but not within the brackets or quotes of a value."""
    parts, quote, depth = [""], "", 0
    for letter in listed:
        if letter == "," and not quote and not depth:
            parts.append("")
            continue
        parts[-1] += letter
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
    if quote or depth:
        raise UsageError("sweep", f"a quote or bracket has no other end ({listed})", "close it")
    return parts


def _row(changes: Sequence[str], stage: str, config: Config, set_: Set, *, as_json: bool) -> Row:
    """Run the stage for one combination and return its settings and figures."""
    row: Row = dict(change.split("=", 1) for change in changes)
    project = common.open_project(config, [*(set_ or ()), *changes])
    # Rows go to standard output, and for a program nothing else may.
    screen = PlainScreen(sys.stderr) if as_json else choose_screen(as_json=False)
    try:
        with contextlib.closing(screen):
            run_pipeline(
                project,
                [stage],
                force=(),
                sinks=[screen],
                command=shlex.join(["madpipe", *sys.argv[1:]]),
                inconclusive=exit_codes.DONE,
            )
    except Interrupted:
        raise
    except MadpipeError as error:
        return row | {"error": str(error)}
    entry = project.store.newest(stage)
    assert entry is not None, "a stage that ran is stored"
    metrics = entry.record.metrics.items()
    figures = {name: value for name, value in metrics if not isinstance(value, str)}
    return row | figures | {"seconds": round(entry.record.seconds, 1)}


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
