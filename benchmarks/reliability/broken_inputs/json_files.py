"""A JSON file broken: as text, in its form, and with values that are right in form alone."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from benchmarks.reliability.broken_inputs import hostile

_DEEP = (100, 400, 5_000, 200_000)
_LARGE = 10_000_000
_STOP = 0.2
_SHORT = 2_000
_FACTORS = (0, -1, 1e9, 1e18, 1e300, 0.5)


def broken(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Return what was done to a JSON document, in words, and the document."""
    if rng.random() < 0.3:
        what = rng.choice([*_AS_TEXT])
        return what, _AS_TEXT[what](rng, content)
    what, document = changed(rng, json.loads(content))
    return what, encoded(document)


def changed(rng: random.Random, document: Any) -> tuple[str, Any]:
    """Return what was done to a document, in words, and a copy of it that is still JSON."""
    document = copy.deepcopy(document)
    whats = []
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not isinstance(document, dict | list) or not document:
            return "another document", hostile.value(rng)
        holder, key = _place(rng, document)
        whats.append(_change_one(rng, holder, key))
    return ", ".join(whats), document


def encoded(document: Any) -> bytes:
    """Return a document as JSON; no number and a surrogate are written as Python writes them."""
    return json.dumps(document).encode()


def _place(rng: random.Random, document: Any) -> tuple[Any, Any]:
    """Return a place in a document as what holds it and its key there; long lists weigh no more."""
    while True:
        key = (
            rng.choice([*document]) if isinstance(document, dict) else rng.randrange(len(document))
        )
        inner = document[key]
        is_leaf = not isinstance(inner, dict | list) or not inner
        if is_leaf or rng.random() < _STOP:
            return document, key
        document = inner


def _change_one(rng: random.Random, holder: Any, key: Any) -> str:
    """Change one place of a document; return how, in words."""
    value = holder[key]
    name = str(key)[:40]
    kind = rng.randrange(7)
    if kind == 0:
        del holder[key]
        return f"{name} left out"
    if kind == 1 and isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = value * rng.choice(_FACTORS)
        return f"{name} is {holder[key]!r}"
    if kind == 2:
        holder[key] = rng.choice([str(value)[:1000], [value], {"x": value}, None, not value])
        return f"{name} of another type"
    if kind == 3 and isinstance(value, list | dict | str) and value:
        is_short = len(json.dumps(value)) < _SHORT
        if is_short and not isinstance(value, dict):
            holder[key] = value * 100
        else:
            holder[key] = type(value)()
        return f"{name} of another length"
    if kind == 4 and isinstance(holder, dict):
        holder[hostile.text(rng)] = holder.pop(key)
        return f"{name} renamed"
    if kind == 5:
        holder[key] = nested(rng.choice(_DEEP[:2]))
        return f"{name} nested deep"
    holder[key] = hostile.value(rng)
    return f"{name} is {holder[key]!r}"[:90]


def nested(depth: int) -> Any:
    """Return a list in a list and so on."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _deep(rng: random.Random, _content: bytes) -> bytes:
    depth = rng.choice(_DEEP)
    first, last = rng.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'{"schema":', b"}")])
    return first * depth + b"1" + last * rng.choice([depth, 0])


def _twice(rng: random.Random, content: bytes) -> bytes:
    document = json.loads(content)
    if not isinstance(document, dict) or not document:
        return content + content
    key = rng.choice([*document])
    return (
        content.rstrip()[:-1] + f", {json.dumps(key)}: {json.dumps(hostile.value(rng))}}}".encode()
    )


def _number(rng: random.Random, content: bytes) -> bytes:
    digits = [index for index, byte in enumerate(content) if byte in b"123456789"]
    if not digits:
        return b"1e999"
    at = rng.choice(digits)
    word = rng.choice(
        [b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"1e-400", b"0x1", b"01"]
    )
    return content[:at] + word + content[at + 1 :]


_AS_TEXT: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "a byte replaced": hostile.bytes_replaced,
    "bytes out of the middle": hostile.bytes_removed,
    "cut short": lambda rng, content: content[: rng.randrange(len(content) + 1)],
    "noise": lambda rng, _: rng.randbytes(rng.choice([0, 1, 1000])),
    "a BOM": lambda _, content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda _, content: content.decode(errors="replace").encode("utf-16"),
    "deep nesting": _deep,
    "a key twice": _twice,
    "a number that is none": _number,
    "another document": lambda rng, _: encoded(hostile.value(rng)),
    "spaces": lambda _, content: b" " * _LARGE + content,
    "NUL bytes": lambda rng, content: content + b"\0" * rng.choice([1, 1000]),
    "a document twice": lambda _, content: content + content,
}
