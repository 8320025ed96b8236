"""Write docs/cli.md, the reference of the command line, from the commands themselves."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pipeline import exit_codes
from pipeline.cli.main import app
from pipeline.report.markdown import markup_table

PATH = Path(__file__).parent.parent / "docs" / "cli.md"
_HEAD = """\
# Command line

Written by `python -m scripts.cli_reference` from the commands themselves; `madpipe COMMAND
--help` displays the same. `--traceback` shows, with any command, where an error comes from.

## Completion in the shell

`madpipe --install-completion` sets completion up for the shell that it is called from (bash 4.4
or newer, zsh, fish, PowerShell), for shells started after it: for bash a file in
`~/.bash_completions` and a line in `~/.bashrc`. `madpipe --show-completion` prints the script
instead, for an administrator or a container:

    _MADPIPE_COMPLETE=source_bash madpipe > /etc/bash_completion.d/madpipe

Besides commands, options and files these are completed: stages (`madpipe run dis<TAB>`), settings
(`--set distill.rou<TAB>` gives `distill.rounds=`, and where one setting is left its default as
well), presets (`madpipe init --preset cif<TAB>`) and topics (`madpipe help <TAB>`). Values of
settings are not. Completing imports neither torch nor ONNX.

## Exit codes

"""


def render() -> str:
    """Return the page."""
    codes = [(f"`{code}`", meaning, remedy) for code, _, meaning, remedy in exit_codes.ALL]
    lines = markup_table("code | meaning | what to do", codes)
    lines += ["`madpipe help CODE` says the same of one, `madpipe help exit-codes` of all.", ""]
    for name, command in _commands(typer.main.get_command(app), "madpipe"):
        lines += _section(name, command)
    return _HEAD + "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command with its whole name, but not the groups of several."""
    for part, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


def _section(name: str, command: Any) -> list[str]:
    """Return the lines on one command."""
    context = typer.Context(command, info_name=name)
    pieces = (piece.strip("{}") for piece in command.collect_usage_pieces(context))
    usage = " ".join([name, *pieces])
    lines = [f"## {name}", "", f"    {usage}", ""]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        is_example = paragraph.startswith("madpipe ")
        lines += [f"    {line}" if is_example else line for line in paragraph.splitlines()]
        lines.append("")
    rows = [
        (_names(option, context), _text(option))
        for option in command.params
        if not getattr(option, "hidden", False)
    ]
    return lines + markup_table("argument or option | what it is", rows)


def _names(option: Any, context: Any) -> str:
    """Return how an argument or option is written, with what it takes."""
    if option.param_type_name == "argument":
        return f"`{option.make_metavar(context)}`"
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag:
        return f"`{names}`"
    metavar = option.make_metavar(context)
    if metavar.startswith("<"):  # a type's own; choices are written as they are typed
        metavar = metavar.strip("<>")
        metavar = metavar if "|" in metavar else metavar.upper()
    return f"`{names} {metavar}`"


def _text(option: Any) -> str:
    """Return what an option is, with its default where one is displayed."""
    text = option.help or ""
    if isinstance(option.show_default, str):
        is_word = " " not in option.show_default
        default = f"`{option.show_default}`" if is_word else option.show_default
        return f"{text} Default: {default}."
    shows_default = option.show_default and option.default not in (None, False, (), [])
    if shows_default and not callable(option.default):
        text += f" Default: `{option.default}`."
    return text


def main() -> None:
    """Write the file."""
    PATH.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
