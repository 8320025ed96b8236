"""Line numbers for the keys of a TOML text, found with `tomllib` alone.

`tomllib` keeps no positions. So the text, which must already have parsed, is cut into
statements, each grown line by line until it parses by itself; what it parses to is its key path.
Used only when a fault is to be reported: a right file never pays for it.
"""

import tomllib
from typing import Any

KeyPath = tuple[str, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) on which each key path of `text` is first set.

    A table's own path has the line of its header, or of the first key that implies it.
    Keys within arrays of tables are found under the array's path alone.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    statement, start = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        statement, start = (statement + "\n" + line, start) if statement else (line, number)
        try:
            paths = _paths(tomllib.loads(statement))
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
