"""The `madpipe` command: its subcommands, its exit codes, and the one place that prints errors."""

import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from pipeline import __version__, exit_codes
from pipeline.cli import cache, files, gate, init_doctor, package, run, sweep, torchrun
from pipeline.errors import MadpipeError

_TRACEBACK = "--traceback"

app = typer.Typer(
    name="madpipe",
    help="From a trained image classifier to a small, validated engine, without its training data.",
    epilog="Exit codes: 0 done, 1 a stage failed, 2 wrong command or settings, 3 a gate failed, "
    "4 a gate is inconclusive, 5 the machine lacks what was asked for, 130 interrupted. "
    "Any command takes --traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cache_app = typer.Typer(help="Look after the stored stages.", no_args_is_help=True)

_COMMANDS: tuple[Callable[..., None], ...] = (
    run.run,
    run.plan,
    run.status,
    run.why,
    run.distill,
    sweep.sweep,
    files.export,
    files.build,
    files.validate,
    gate.gate,
    gate.compare,
    gate.report,
    package.package,
    init_doctor.doctor,
    init_doctor.init,
)
_CACHE_COMMANDS: tuple[Callable[..., None], ...] = (
    cache.ls,
    cache.verify,
    cache.gc,
    cache.push,
    cache.pull,
)
for _command in _COMMANDS:
    app.command()(_command)
for _command in _CACHE_COMMANDS:
    cache_app.command()(_command)
app.add_typer(cache_app, name="cache")

# typer keeps the base of its usage errors to itself; its public subclass leads there.
_UsageError = typer.BadParameter.__bases__[0]


def _print_version(value: bool) -> None:  # noqa: FBT001  (typer's form of a callback)
    if value:
        typer.echo(f"madpipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: FBT002  (typer makes an option of it)
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Hold the options of the command itself."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code; every error is one message on standard error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    shows_traceback = _TRACEBACK in arguments
    arguments = [argument for argument in arguments if argument != _TRACEBACK]
    if torchrun.is_worker():
        torchrun.run_worker()
        return
    try:
        with torchrun.workers_released():
            code = app(args=arguments, prog_name="madpipe", standalone_mode=False)
    except MadpipeError as error:
        code = _fail(str(error), error.exit_code, shows_traceback=shows_traceback)
    except (KeyboardInterrupt, typer.Abort):
        message = "madpipe: interrupted; the same command goes on from the last checkpoint"
        code = _fail(message, exit_codes.INTERRUPTED, shows_traceback=shows_traceback)
    except BrokenPipeError:
        sys.stderr.close()
        code = exit_codes.FAILED
    except OSError as error:
        wrong = f"cannot be read or written ({error.strerror or error})"
        message = f"{error.filename or 'madpipe'}: {wrong}; check the path and the disk"
        code = _fail(message, exit_codes.FAILED, shows_traceback=shows_traceback)
    except Exception as error:  # noqa: BLE001  (the last place that can report it)
        if isinstance(error, _UsageError) and not error.format_message():  # type: ignore[attr-defined]
            # A command group alone: typer has printed its help in making the error.
            code = exit_codes.WRONG_USAGE
        elif isinstance(error, _UsageError):
            wrong = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
            message = f"command line: {wrong}; see madpipe --help"
            code = _fail(message, exit_codes.WRONG_USAGE, shows_traceback=shows_traceback)
        else:
            message = (
                f"madpipe: unexpected {type(error).__name__} ({error}); repeat with --traceback"
            )
            code = _fail(message, exit_codes.FAILED, shows_traceback=shows_traceback)
    sys.exit(code if isinstance(code, int) else exit_codes.DONE)


def _fail(message: str, code: int, *, shows_traceback: bool) -> int:
    if shows_traceback:
        traceback.print_exc()
    typer.echo(message, err=True)
    return code
