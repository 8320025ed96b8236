"""Reading pipeline.toml and `--set` into settings, with every fault reported at once.

Each fault is one line, `file:line: key: what is wrong (value); what to do`, sorted by line.
Knows nothing of what the settings mean: bounds are in `pipeline.settings`, rules between
settings in `pipeline.config.rules`.
"""

import contextlib
import math
import tomllib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.config.rules import Fault, broken_rules
from pipeline.config.toml_lines import KeyPath, key_lines, line_of
from pipeline.errors import ConfigError, SettingsFault, did_you_mean
from pipeline.settings import Settings, Table


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings from `path`, changed by `overrides` of the form `table.key=value`.

    Raises:
        ConfigError: With one line for each fault.
    """
    text = _read(path)
    return _settings(_parsed(path, text), overrides, path, text)


def table_of(path: Path, name: str) -> dict[str, Any]:
    """Return a table of a file as it stands there, empty where there is none.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    table = _parsed(path, _read(path)).get(name, {})
    return table if isinstance(table, dict) else {}


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).partition(" (at line ")
        line = position.partition(",")[0]
        place = f"{path}:{line}" if line.isdigit() else str(path)
        raise ConfigError([f"{place}: not TOML ({message.lower()}); correct the syntax"]) from error


def defaults(overrides: Sequence[str]) -> Settings:
    """Return the settings where there is no file: the defaults, changed by `overrides`.

    Raises:
        ConfigError: With one line for each fault.
    """
    return _settings({}, overrides, Path("--set"), "")


def _settings(table: dict[str, Any], overrides: Sequence[str], path: Path, text: str) -> Settings:
    set_paths = {_override(table, change) for change in overrides}
    faults = list(_faults(Settings, table, ()))
    if not faults:
        settings = msgspec.convert(table, Settings)
        faults = list(broken_rules(settings))
        if not faults:
            return settings
    raise _located_error(path, text, faults, set_paths)


def locate(path: Path, overrides: Sequence[str], fault: SettingsFault) -> ConfigError:
    """Return `fault` with the file and line, or the `--set`, of each of its keys."""
    set_paths = {_override({}, change) for change in overrides}
    faults = [Fault(*parts) for parts in fault.faults]
    return _located_error(path, _read(path), faults, set_paths)


def _located_error(
    path: Path, text: str, faults: Sequence[Fault], set_paths: set[KeyPath]
) -> ConfigError:
    lines = key_lines(text)
    located = sorted(_located(fault, path, lines, set_paths) for fault in faults)
    return ConfigError([line for _, line in located])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        fault = f"{path}: no such file; write one with 'madpipe init' or name it with --config"
        raise ConfigError([fault]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read ({error}); check the file"]) from error


def _override(table: dict[str, Any], text: str) -> KeyPath:
    """Put one `table.key=value` into `table`; a value that is not TOML is taken as text."""
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError([f"--set {text}: not KEY=VALUE ({text}); write for instance seed=1"])
    parsed: Any = value
    if "\n" not in value:  # a line break would begin another key, so such a value is text
        with contextlib.suppress(tomllib.TOMLDecodeError):
            parsed = tomllib.loads(f"value = {value}")["value"]
    for name in path[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            fault = f"--set {key}: '{name}' is not a table ({inner}); name a key of a table"
            raise ConfigError([fault])
        table = inner
    table[path[-1]] = parsed
    return path


def _faults(kind: Any, value: Any, path: KeyPath) -> Iterator[Fault]:
    """Yield what is wrong with `value`, which should convert to the type `kind`."""
    if isinstance(kind, type) and issubclass(kind, Table):
        yield from _table_faults(kind, value, path)
    elif typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield _wrong_value(dict, value, path)
            return
        for name, inner in value.items():
            yield from _faults(typing.get_args(kind)[1], inner, (*path, name))
    elif _not_finite(value):
        yield _wrong_value(kind, value, path)
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            yield _wrong_value(kind, value, path)


def _table_faults(kind: type[Table], value: Any, path: KeyPath) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield _wrong_value(kind, value, path)
        return
    kinds = typing.get_type_hints(kind, include_extras=True)
    fields = {name: kinds[name] for name in kind.__struct_fields__}
    for name, inner in value.items():
        if name in fields:
            yield from _faults(fields[name], inner, (*path, name))
        else:
            guess = did_you_mean(name, fields)
            remedy = "correct or remove it" if guess else f"known here: {', '.join(fields)}"
            yield Fault((*path, name), f"unknown key{guess} ({name})", remedy)


def _not_finite(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(item, float) and not math.isfinite(item) for item in values)


def _wrong_value(kind: Any, value: Any, path: KeyPath) -> Fault:
    from msgspec import inspect  # noqa: PLC0415  (only a fault pays for its import)

    from pipeline.config.template import accepted  # noqa: PLC0415

    words = accepted(inspect.type_info(kind))
    return Fault(path, f"not {words} ({value!r})", f"give {words}")


def _located(
    fault: Fault, path: Path, lines: dict[KeyPath, int], set_paths: set[KeyPath]
) -> tuple[int, str]:
    """Return the fault's sort key and its finished line."""
    key = ".".join(fault.key)
    number = line_of(lines, fault.key)
    for set_path in set_paths:
        length = min(len(set_path), len(fault.key))
        is_of_set = set_path[:length] == fault.key[:length]
        is_in_file = fault.key in lines
        if is_of_set and (not is_in_file or len(set_path) <= len(fault.key)):
            return 10**9, f"--set {key}: {fault.wrong}; {fault.remedy}"
    place = f"{path}:{number}" if number else str(path)
    return number or 0, f"{place}: {key}: {fault.wrong}; {fault.remedy}"
