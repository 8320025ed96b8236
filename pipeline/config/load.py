"""Reading pipeline.toml and `--set` into settings, with every fault reported at once.

Each fault is one line, `file:line: key: what is wrong (value); what to do`, sorted by line.
Knows nothing of what the settings mean: bounds are in `pipeline.settings`, rules between
settings in `pipeline.config.rules`.
"""

import contextlib
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline import texts
from pipeline.config.gate_rules import Fault, KeyPath
from pipeline.config.rules import broken_rules
from pipeline.errors import ConfigError, SettingsFault, did_you_mean, first_line
from pipeline.settings import DEFAULT_COMPARE, DEFAULT_GATES, Gate, Settings, Table

_LARGEST_BYTES = 2**20
_MOST_LEVELS = 16
_LONG_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]+[ \t]*\.[ \t]*){64}""")
_TOO_DEEP = "nested deeper than any setting"
_MOST_BITS = 10_000
_TOO_LONG = "a number longer than any setting"
_BOUNDS: Mapping[str, Mapping[str, Gate]] = {"gates": DEFAULT_GATES, "compare": DEFAULT_COMPARE}
"""Of tables that replace all of them where a file has one."""
_SAME = ("max", "margin")
"""Two names of one bound."""
_MOST_PARSED = 1_000_000
"""Characters that are parsed to find the lines of keys; what lies behind has no line."""


def load(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read the settings from `path`, changed by `overrides` of the form `table.key=value`.

    Raises:
        ConfigError: With one line for each fault.
    """
    text = _read(path)
    return _checked(_parsed(path, text), overrides, path, text)


def table_of(path: Path, name: str) -> dict[str, Any]:
    """Return a table of a file as it stands there, empty where there is none.

    Raises:
        ConfigError: The file cannot be read, or is not TOML.
    """
    table = _parsed(path, _read(path)).get(name, {})
    return table if isinstance(table, dict) else {}


def defaults(overrides: Sequence[str]) -> Settings:
    """Return the settings where there is no file: the defaults, changed by `overrides`.

    Raises:
        ConfigError: With one line for each fault.
    """
    return _checked({}, overrides, Path("--set"), "")


def locate(path: Path, overrides: Sequence[str], fault: SettingsFault) -> ConfigError:
    """Return `fault` with the file and line, or the `--set`, of each of its keys."""
    set_paths = {_override({}, change) for change in overrides}
    return _located(path, _read(path), [Fault(*parts) for parts in fault.faults], set_paths)


def _checked(table: dict[str, Any], overrides: Sequence[str], path: Path, text: str) -> Settings:
    """Return a parsed table, changed by `overrides`, as settings that break no rule."""
    set_paths = {_override(table, change) for change in overrides}
    faults = list(_faults(Settings, table, ()))
    if not faults:
        settings = msgspec.convert(table, Settings)
        faults = list(broken_rules(settings))
        if not faults:
            return settings
    raise _located(path, text, faults, set_paths)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        if len(content) > _LARGEST_BYTES:
            wrong = f"is no settings file (larger than {_LARGEST_BYTES // 2**20} MiB)"
            raise ConfigError([f"{path}: {wrong}; name another file"])
        return texts.decode(content)
    except FileNotFoundError as error:
        fault = f"{path}: no such file; write one with 'madpipe init' or name it with --config"
        raise ConfigError([fault]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        wrong = f"not UTF-8 (byte 0x{error.object[error.start]:02x})"
        raise ConfigError([f"{path}:{line}: {wrong}; save the file as UTF-8"]) from error
    except OSError as error:
        fault = f"{path}: cannot be read ({error.strerror}); check the file"
        raise ConfigError([fault]) from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return _toml(text)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).partition(" (at line ")
        line = position.partition(",")[0]
        place = f"{path}:{line}" if line.isdigit() else str(path)
        remedy = "correct the syntax"
        if "\\" in message or "escape" in message.lower() or "hex" in message.lower():
            remedy = "write paths with slashes, or in 'single quotes'"
        raise ConfigError([f"{place}: not TOML ({message.lower()}); {remedy}"]) from error


def _toml(text: str) -> dict[str, Any]:
    """Return what a text in TOML says.

    Raises:
        tomllib.TOMLDecodeError: It is none, or nested deeper than any setting is.
    """
    if _LONG_KEY.search(text):  # for which tomllib needs memory by the square of its length
        raise tomllib.TOMLDecodeError(_TOO_DEEP)
    try:
        parsed = tomllib.loads(text)
    except RecursionError as error:
        raise tomllib.TOMLDecodeError(_TOO_DEEP) from error
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:  # a number of more digits than Python reads
        raise tomllib.TOMLDecodeError(first_line(error)) from error
    level: list[Any] = [parsed]
    for _ in range(_MOST_LEVELS):
        level = [inner for value in level for inner in _inside(value)]
        if any(isinstance(v, int) and v.bit_length() > _MOST_BITS for v in level):
            raise tomllib.TOMLDecodeError(_TOO_LONG)
        if not level:
            return parsed
    raise tomllib.TOMLDecodeError(_TOO_DEEP)


def _inside(value: Any) -> Iterable[Any]:
    """Return what a list or a table holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _override(table: dict[str, Any], text: str) -> KeyPath:
    """Put one `table.key=value` into `table`; a value that is not TOML is taken as text."""
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError([f"--set {text}: not KEY=VALUE ({text}); write for instance seed=1"])
    if (readable := texts.as_utf8(text)) != text:
        remedy = "rename the file, or give a link to it"
        raise ConfigError(
            [f"--set {texts.as_utf8(key)}: is no text in UTF-8 ({readable}); {remedy}"]
        )
    parsed: Any = value
    if "\n" not in value:  # a line break would begin another key, so such a value is text
        with contextlib.suppress(tomllib.TOMLDecodeError):
            parsed = _toml(f"value = {value}")["value"]
    if len(path) > 1 and path[0] in _BOUNDS and path[0] not in table:
        table[path[0]] = _default_bounds(path)
    for name in path[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            fault = f"--set {key}: '{name}' is not a table ({inner}); name a key of a table"
            raise ConfigError([fault])
        table = inner
    table[path[-1]] = parsed
    return path


def _default_bounds(path: KeyPath) -> dict[str, Any]:
    """Return the bounds of a table that a file lacks, one of which is to be changed."""
    bounds: dict[str, Any] = msgspec.to_builtins(_BOUNDS[path[0]])
    if path[-1] in _SAME and path[1] in bounds:
        bounds[path[1]] |= dict.fromkeys(_SAME)
    return bounds


def _faults(kind: Any, value: Any, path: KeyPath) -> Iterator[Fault]:
    """Yield what is wrong with `value`, which should convert to the type `kind`."""
    is_table = isinstance(kind, type) and issubclass(kind, Table)
    if is_table or typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield _wrong_value(kind, value, path)
            return
        if is_table:
            kinds = typing.get_type_hints(kind, include_extras=True)
        else:
            kinds = dict.fromkeys(value, typing.get_args(kind)[1])
        for name, inner in value.items():
            if name in kinds:
                yield from _faults(kinds[name], inner, (*path, name))
            else:
                guess = did_you_mean(name, kinds)
                remedy = "correct or remove it" if guess else f"known here: {', '.join(kinds)}"
                yield Fault((*path, name), f"unknown key{guess} ({name})", remedy)
        return
    values = value if isinstance(value, list) else [value]
    try:
        is_right = all(math.isfinite(item) for item in values if isinstance(item, float))
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        is_right = False
    if not is_right:
        yield _wrong_value(kind, value, path)


def _wrong_value(kind: Any, value: Any, path: KeyPath) -> Fault:
    from msgspec import inspect  # noqa: PLC0415  (only a fault pays for its import)

    from pipeline.config.template import accepted  # noqa: PLC0415

    words = accepted(inspect.type_info(kind))
    return Fault(path, f"not {words} ({value!r})", f"give {words}")


def _located(
    path: Path, text: str, faults: Sequence[Fault], set_paths: set[KeyPath]
) -> ConfigError:
    """Return the faults as lines, each with the file and line, or the `--set`, of its key."""
    lines = key_lines(text)
    located = []
    for fault in faults:
        number = line_of(lines, fault.key) or 0
        place = f"{path}:{number}: " if number else f"{path}: "
        for set_path in set_paths:
            length = min(len(set_path), len(fault.key))
            is_of_set = set_path[:length] == fault.key[:length]
            if is_of_set and (fault.key not in lines or len(set_path) <= len(fault.key)):
                number, place = 10**9, "--set "  # after the lines of the file
        key = ".".join(fault.key)
        located.append((number, f"{place}{key}: {fault.wrong}; {fault.remedy}"))
    return ConfigError([line for _, line in sorted(located)])


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) on which each key path of `text` is first set.

    `tomllib` keeps no positions. So the text, which must already have parsed, is cut into
    statements, each grown line by line until it parses by itself; what it parses to is its key
    path. A table's own path has the line of its header, or of the first key that implies it.
    Keys within arrays of tables are found under the array's path alone.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    statement, start, parsed = "", 0, 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement, start = (statement + "\n" + line, start) if statement else (line, number)
        parsed += len(statement)
        if parsed > _MOST_PARSED:
            break
        try:
            paths = _paths(_toml(statement))
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table, paths = paths[-1], [()]
        for path in paths:
            key = table + path
            for length in range(1, len(key) + 1):
                lines.setdefault(key[:length], start)
        statement = ""
    return lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of `path`, or of its nearest ancestor that has one."""
    ancestors = (path[:length] for length in range(len(path), 0, -1))
    return next((lines[key] for key in ancestors if key in lines), None)


def _paths(parsed: dict[str, Any]) -> list[KeyPath]:
    """Return the paths of a parsed statement, parents before their children."""
    paths: list[KeyPath] = []
    for key, value in parsed.items():
        inner = value[0] if isinstance(value, list) and value else value
        paths.append((key,))
        if isinstance(inner, dict):
            paths += [(key, *rest) for rest in _paths(inner)]
    return paths
