"""The command `help`: a command's help, or what an exit code means and what to do about it."""

import textwrap
from typing import Annotated

import typer

from pipeline import exit_codes
from pipeline.cli import completion
from pipeline.errors import UsageError, did_you_mean

EXIT_CODES = "exit-codes"
_WIDTH = 88

Topic = Annotated[
    str | None,
    typer.Argument(
        metavar="[COMMAND | CODE | exit-codes]",
        help="What to explain; absent: all commands.",
        autocompletion=completion.topics,
    ),
]


def help_(context: typer.Context, topic: Topic = None) -> None:
    """Explain a command, an exit code, or all exit codes.

    madpipe help 4
    """
    root = context.parent
    assert root is not None
    if topic is None:
        typer.echo(root.get_help())
        return
    codes = [entry for entry in exit_codes.ALL if topic in (str(entry.code), EXIT_CODES)]
    if codes:
        typer.echo("\n\n".join(map(_explained, codes)))
        return
    commands = completion.commands(root.command)
    if topic not in commands:
        names = [*commands, EXIT_CODES, *(str(entry.code) for entry in exit_codes.ALL)]
        wrong = f"no such command or exit code{did_you_mean(topic, names)} ({topic})"
        raise UsageError("help", wrong, f"name one of {', '.join(names)}")
    command = commands[topic]
    with typer.Context(command, info_name=topic, parent=root) as inner:
        typer.echo(command.get_help(inner))


def _explained(entry: exit_codes.ExitCode) -> str:
    """Return an exit code as a paragraph."""
    parts = (f"{entry.code}: {entry.summary}", entry.meaning, f"What to do: {entry.remedy}")
    head, *paragraphs = parts
    indented = [
        textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
        for text in paragraphs
    ]
    return "\n".join((head, *indented))
