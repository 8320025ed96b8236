"""pipeline.toml: broken as TOML, and right as TOML with hostile values."""

import random
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability import small_project
from benchmarks.reliability.broken_inputs import hostile
from benchmarks.reliability.broken_inputs.actions import CANARY
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from pipeline.config import presets, template
from pipeline.settings import CompareGate, Gate, Settings, Table

FILE = "pipeline.toml"
_READERS: tuple[list[str], ...] = (
    *(["plan", "--no-memory"], ["plan", "--json", "--no-memory"], ["status"], ["status", "--json"]),
    *(["why", "distill"], ["gate"], ["report", "--format", "json"], ["cache", "ls"]),
    *(["cache", "verify"], ["run", "nothing"], ["sweep", "distill.rounds=1,x"]),
    *(["doctor"], ["doctor", "--json"]),
)
"""Commands that read the settings and train nothing."""
_DEEP = 20_000
_LARGE_BYTES = 10_000_000

Change = Callable[[random.Random, str], str | bytes]


class Key(NamedTuple):
    """A setting: the keys that lead to it, and its type."""

    path: tuple[str, ...]
    kind: Any


def reader(rng: random.Random) -> list[str]:
    """Return a command that reads the settings and trains nothing."""
    weights = [1 if words[0] == "doctor" else 8 for words in _READERS]
    return list(rng.choices(_READERS, weights)[0])


@cache
def keys() -> tuple[Key, ...]:
    """Return every setting of every table."""
    return tuple(_keys(Settings, ()))


def _keys(kind: Any, path: tuple[str, ...]) -> Iterator[Key]:
    for name, inner in typing.get_type_hints(kind, include_extras=True).items():
        if isinstance(inner, type) and issubclass(inner, Table):
            yield from _keys(inner, (*path, name))
        elif typing.get_origin(inner) is dict:
            row = Gate if name == "gates" else CompareGate
            measures = ("engine_top1_drop", "speedup", "engine_first_ms", "latency_ratio", "none")
            for measure in measures:
                yield from _keys(row, (*path, name, measure))
        else:
            yield Key((*path, name), inner)


def _whole(rng: random.Random) -> str:
    """Return a settings file that is right."""
    names = [*presets.PRESETS]
    text = template.render(presets.PRESETS[rng.choice(names)])
    return rng.choice([text, small_project.SETTINGS, "seed = 1\n"])


def _swapped_tables(rng: random.Random, text: str) -> str:
    lines = text.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("[")]
    if len(heads) > 1:
        first, second = rng.sample(heads, 2)
        lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def _repeated_line(rng: random.Random, text: str) -> str:
    lines = text.splitlines() or ["seed = 1"]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return "\n".join(lines)


def _unknown_key(rng: random.Random, text: str) -> str:
    key = hostile.toml(rng, hostile.text(rng))
    return f"{text}\n{key} = {hostile.toml(rng, hostile.value(rng))}\n"


def _table_for_value(rng: random.Random, _text: str) -> str:
    names = [
        "seed",
        "data",
        "data.root",
        "distill.rounds",
        "gates",
        "gates.speedup",
        "build.targets",
    ]
    name = rng.choice(names)
    return rng.choice(
        [f"[{name}]\nx = 1\n", f"[[{name}]]\nx = 1\n", f"{name} = 1\n", f"{name} = [[], {{}}]\n"]
    )


def _deep(rng: random.Random, _text: str) -> str:
    depth = rng.choice([50, 500, 5000, _DEEP])
    return rng.choice(
        [
            f"seed = {'[' * depth}{']' * depth}\n",
            f"data = {'{a=' * depth}1{'}' * depth}\n",
            f"[{'.'.join('a' * depth)}]\nb = 1\n",
            f"{'.'.join(['a'] * depth)} = 1\n",
            f"[gates]\n{'.'.join(['speedup'] * depth)}.min = 1\n",
        ]
    )


def _large(rng: random.Random, text: str) -> str:
    return rng.choice(
        [
            f"data.root = '{'x' * _LARGE_BYTES}'\n",
            f"# {'x' * _LARGE_BYTES}\n{text}",
            "\n" * _LARGE_BYTES,
            f"data.classes = [{'1,' * (_LARGE_BYTES // 20)}]\n",
            "".join(f"k{number} = {number}\n" for number in range(20_000)),
            f"seed = {'9' * rng.choice([100, 4000, 5000, 1_000_000])}\n",
        ]
    )


_GRAMMAR: dict[str, Change] = {
    "a byte replaced": lambda rng, text: hostile.bytes_replaced(rng, text.encode()),
    "bytes out of the middle": lambda rng, text: hostile.bytes_removed(rng, text.encode()),
    "cut short": lambda rng, text: text.encode()[: rng.randrange(len(text) + 1)],
    "swapped tables": _swapped_tables,
    "a line twice": _repeated_line,
    "an unknown key": _unknown_key,
    "a table for a value": _table_for_value,
    "deep nesting": _deep,
    "very large": _large,
    "a BOM": lambda rng, text: (
        rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xef\xbb"]) + text.encode()
    ),
    "UTF-16": lambda rng, text: text.encode(rng.choice(["utf-16", "utf-16-be", "utf-32"])),
    "line ends": lambda rng, text: text.replace(
        "\n", rng.choice(["\r\n", "\r", "\n\r", "\v", "\x85"])
    ),
    "noise": lambda rng, _: rng.randbytes(rng.choice([0, 1, 100, 10_000])),
    "NUL bytes": lambda rng, text: text.replace("=", rng.choice(["\0=", "=\0", "=\0\0\0"]), 3),
    "code": lambda _, text: f"{text}\n__import__('os').mkdir('{CANARY}')\n",
}


def _break_grammar(rng: random.Random, folder: Path, _shared: Path) -> Broken:
    what = rng.choice([*_GRAMMAR])
    content = _GRAMMAR[what](rng, _whole(rng))
    (folder / FILE).write_bytes(content.encode() if isinstance(content, str) else content)
    return Broken(what, reader(rng))


def _break_value(rng: random.Random, folder: Path, _shared: Path) -> Broken:
    count = rng.choice([1, 1, 1, 2, 5])
    lines, whats = [], []
    for key in rng.sample(keys(), count):
        value = hostile.toml(rng, hostile.value(rng))
        lines.append(f"{'.'.join(key.path)} = {value}\n")
        whats.append(f"{'.'.join(key.path)} = {value[:60]}")
    (folder / FILE).write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
    return Broken(", ".join(whats), reader(rng))


def _nothing(shared: Path) -> None:
    """Make no valid files: settings are written out of the defaults."""


GRAMMAR = Format("settings-grammar", _nothing, _break_grammar)
VALUES = Format("settings-values", _nothing, _break_value)
