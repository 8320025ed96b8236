"""The `madpipe` command: its subcommands, its exit codes, and the one place that prints errors."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipeline import __version__, exit_codes
from pipeline.cli import (
    cache,
    ci,
    common,
    completion,
    export,
    files,
    gate,
    help_topics,
    init_doctor,
    package,
    run,
    standard_streams,
    sweep,
    torchrun,
)
from pipeline.errors import MadpipeError
from pipeline.signals import ignore_requests, interrupted_by_signals
from pipeline.texts import printable

app = typer.Typer(
    name="madpipe",
    help="From a trained image classifier to a small, validated engine, without its training data.",
    epilog=f"{exit_codes.overview()} Any command takes --traceback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cache_app = typer.Typer(help="Look after the stored stages.", no_args_is_help=True)

_Commands = tuple[Callable[..., None], ...]
_STAGES: _Commands = (run.run, run.plan, run.status, run.why, run.distill, sweep.sweep)
_FILES: _Commands = (export.export, files.build, files.validate)
_RESULTS: _Commands = (gate.gate, gate.compare, gate.report, package.package)
_CI: _Commands = (ci.baseline, ci.comment)
_MACHINE: _Commands = (init_doctor.doctor, init_doctor.init)
_CACHE: _Commands = (cache.ls, cache.verify, cache.gc, cache.push, cache.pull)
for _command in _STAGES + _FILES + _RESULTS + _CI + _MACHINE:
    app.command()(_command)
for _command in _CACHE:
    cache_app.command()(_command)
app.add_typer(cache_app, name="cache")
app.command("help")(help_topics.help_)

# typer keeps the base of its usage errors to itself; its public subclass leads there.
_UsageError: Any = typer.BadParameter.__bases__[0]


def _print_version(value: bool) -> None:  # noqa: FBT001  (typer's form of a callback)
    if value:
        typer.echo(f"madpipe {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]


@app.callback()
def _root(
    version: _Version = False,  # noqa: FBT002  (typer makes an option of it)
) -> None:
    """Hold the options of the command itself."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code; every error is one message on standard error."""
    is_process = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    shows_traceback = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    # A Python that is started with a module or a line of code, as for each process of a training,
    # would look for every module in the current folder first, which may be a stranger's.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    if torchrun.is_worker():
        from stages.distill.distributed import worker  # noqa: PLC0415  (torch, for a worker alone)

        worker.main()
        return
    if completion.is_of_a_value(os.environ):
        return
    standard_streams.prepare()
    with torchrun.signals_wait():
        code = _run(arguments, shows_traceback=shows_traceback)
    if is_process:
        ignore_requests()
    sys.exit(code)


def _run(arguments: list[str], *, shows_traceback: bool) -> int:
    """Run the command, print its error if it has one, and return the exit code."""
    try:
        with interrupted_by_signals(), torchrun.workers_released():
            code = app(args=arguments, prog_name="madpipe", standalone_mode=False)
        if code == exit_codes.INTERRUPTED:
            raise KeyboardInterrupt  # noqa: TRY301  (typer makes a code of it and says nothing)
        return code if isinstance(code, int) else exit_codes.DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the last place to report it)
        code, message = _code_and_message(error)
        if message and shows_traceback:
            traceback.print_exc()
        if message:
            common.write_note(message)
        return code


def _code_and_message(error: BaseException) -> tuple[int, str]:
    """Return the exit code for an error and what to print of it, which may be nothing."""
    match error:
        case MadpipeError():
            return error.exit_code, str(error)
        case KeyboardInterrupt() | typer.Abort():
            message = "madpipe: interrupted; the same command goes on from the last checkpoint"
            return exit_codes.INTERRUPTED, message
        case OSError():
            wrong = f"cannot be read or written ({error.strerror or error})"
            place = printable(str(error.filename or "madpipe"))
            return exit_codes.FAILED, f"{place}: {wrong}; check the path and the disk"
        case _UsageError():
            wrong = " ".join(error.format_message().split()).rstrip(".")
            # Of a command group alone: typer has printed its help in making the error.
            message = f"command line: {wrong}; see madpipe --help" if wrong else ""
            return exit_codes.WRONG_USAGE, message
        case _:
            wrong = f"unexpected {type(error).__name__} ({printable(str(error))})"
            return exit_codes.FAILED, f"madpipe: {wrong}; repeat with --traceback"
