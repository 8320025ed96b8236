"""Command lines: `--set` with hostile values, and all options and arguments of all commands."""

import random
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import typer.main

from benchmarks.reliability.broken_inputs import hostile, settings_file, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from pipeline.cli.main import app

_PATHS = (
    *("", " ", ".", "-", "--", "pipeline.toml", "pipeline.toml/x", "none/deep/x", "x", "images"),
    *("y" * 300, "a/" * 3000, "a\nb", "\x1b[31m", "-rf", "~no-one/x", "$NOBODY/x", "\udcff", "é"),
    *("/dev/full", "/dev/null", "/proc/none/x", "/dev/null/x", "x.zip", "x.tar.gz", "x.json"),
    *("x.onnx", "file://x", "s3:/x", "C:\\x", "x\\y", "baseline", "unlabelled", ".madpipe"),
)
_WRITTEN = {"out", "place", "folder"}
"""Parameters that name what is written; `config` is written by init."""
_TRAINING = ("run", "distill", "sweep", "export", "build", "validate")
_NO_TEACHER = '[teacher]\nweights = "absent.pth"\n'
_SILENT = {"help", "version", "install_completion", "show_completion"}


class _Command(NamedTuple):
    """A command as it is called, and its parameters."""

    words: tuple[str, ...]
    parameters: tuple[Any, ...]


@cache
def _commands() -> tuple[_Command, ...]:
    """Return every command that there is."""

    def walk(command: Any, words: tuple[str, ...]) -> list[_Command]:
        inner = getattr(command, "commands", None)
        if inner is None:
            params = tuple(p for p in command.params if p.name not in _SILENT)
            return [_Command(words, params)]
        return [leaf for name, sub in inner.items() for leaf in walk(sub, (*words, name))]

    return tuple(walk(typer.main.get_command(app), ()))


def _break_set(rng: random.Random, folder: Path, _shared: Path) -> Broken:
    """Give one or two settings by --set."""
    (folder / settings_file.FILE).write_text(rng.choice(["", 'data.source = "digits"\n']))
    words = settings_file.reader(rng)
    if words[0] == "doctor":
        words = ["plan", "--no-memory"]
    if words[0] == "cache":
        words = ["status"]
    whats = []
    for key in rng.sample(settings_file.keys(), rng.choice([1, 1, 2])):
        name = ".".join(key.path)
        value = rng.choice([hostile.toml(rng, hostile.value(rng)), hostile.argument(rng)])
        form = rng.choices(["=", "", " = ", "=="], [9, 1, 1, 1])[0]
        name = rng.choices([name, name.upper(), f"{name}.x", f".{name}"], [20, 1, 1, 1])[0]
        words += ["--set", f"{name}{form}{value}"[:_LONGEST]]
        whats.append(words[-1][:80])
    return Broken(f"--set {whats}", words)


_LONGEST = 100_000


def _break_line(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Call a command with options and arguments that nobody would mean."""
    command = rng.choice(_commands())
    words = list(command.words)
    if words[0] in _TRAINING:
        (folder / settings_file.FILE).write_text(_NO_TEACHER)
    else:
        stored.copy(folder, shared)
    targets = ["packed", "page.html", "kept", "report.html"]
    targets += ["pipeline.toml"] if words == ["init"] else []
    count = min(len(command.parameters), rng.choice([0, 1, 1, 2, 2, 3, 5]))
    for parameter in rng.sample(command.parameters, count):
        value = _value(rng, parameter)
        if (
            isinstance(parameter, click.Argument)
            or getattr(parameter, "param_type_name", "") == "argument"
        ):
            words += value
            name = parameter.name
        else:
            flag = rng.choice(parameter.opts)
            words += [flag] if getattr(parameter, "is_flag", False) else [flag, *value]
            name = parameter.name
        if name in _WRITTEN or (name == "config" and "init" in words):
            targets += value
    if rng.random() < 0.2:
        words.insert(rng.randrange(1, len(words) + 1), hostile.argument(rng))
    return Broken(f"{' '.join(command.words)} with {count} options", words, _within(targets))


def _value(rng: random.Random, parameter: Any) -> list[str]:
    """Return the words of a value for a parameter."""
    kind = type(parameter.type).__name__.lower()
    if "path" in kind or parameter.name in _WRITTEN:
        words = [rng.choice(_PATHS)]
    elif "int" in kind or "float" in kind:
        words = [str(hostile.number(rng))]
    elif "choice" in kind and rng.random() < 0.5:
        words = [rng.choice([*parameter.type.choices])]
    elif parameter.name in ("set_", "axes", "slurm"):
        words = [f"{rng.choice(['seed', 'distill.rounds', 'x', ''])}={hostile.argument(rng)}"]
    else:
        words = [hostile.argument(rng)]
    return words * rng.choice([1, 1, 1, 2]) if parameter.multiple else words


def _within(targets: list[str]) -> tuple[str, ...]:
    """Return the targets that a path can be made of."""
    return tuple(target for target in targets if target.strip() and "\0" not in target)


SET_VALUES = Format("set-values", lambda _shared: None, _break_set)
COMMAND_LINES = Format("command-lines", stored.prepare, _break_line)
