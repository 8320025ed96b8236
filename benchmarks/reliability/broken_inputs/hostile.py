"""Values, texts and bytes that no writer of a format has in mind."""

import json
import math
import os
import random
from typing import Any

from benchmarks.reliability.broken_inputs.actions import CANARY

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 7, 255, 256, 1023, 65_537, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1),
    *(2**63, -(2**63) - 1, 2**64, 10**30, -(10**30)),
    *(0.0, -0.0, 0.5, 1.0, -1.5, 1e-320, 1e308, -1e308, 1e18, 1e-12, 0.9999999999999999),
    *(math.nan, math.inf, -math.inf),
)
TEXTS = (
    *("", " ", ".", "..", "/", "//", "~", "~no-one", "-", "--", "-x", "\t", "\n", "\r\n", "a\nb"),
    *(
        "\x1b[31mred\x1b[0m",
        "\x7f",
        "\x00",
        "\x00x",
        "é",
        "日本語",
        "\u202eabc",
        "\ufeff",
        "👩‍👩‍👧‍👦",
    ),
    *(
        "x" * 300,
        "y" * 5_000,
        "a/" * 200,
        "\\",
        "C:\\x",
        "\\\\host\\share",
        "%s%n",
        "${NOBODY}",
        "$(id)",
    ),
    *("{0.__class__}", "{{7*7}}", "{% raw %}", "<script>alert(1)</script>", "]]>", "'\"`", "null"),
    *("true", "NaN", "1e999", "0x10", "1_000", "١٢", "2026-01-01", "../foreign/notes.txt"),
    *("../foreign", "/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self/fd/0"),
    *("file:///dev/zero", "file://", "file://../foreign", "://", "s3:/x", "s3://", "s3:///x"),
    *("http:", "http://127.0.0.1:1/x", "https://user:secret@127.0.0.1:1/", "ftp://127.0.0.1:1/"),
    *("memory://x", "zip://x", "simplecache::file:///x", "sftp://127.0.0.1:1/x", "hf:", "hf:a/b"),
    *("hf:../..@x", "timm:", "timm:x.y", "torchvision:", "torchvision:resnet18", "timm:resnet18"),
    *("torchvision:__builtins__", "resnet8", "resnet9999", "wrn16-1", "x.py:f", "x.py:", ":f"),
    *("pipeline.toml:f", f"__import__('os').mkdir('{CANARY}')", f"{CANARY}.py:{CANARY}"),
    *("digits", "natural", "auto", "none", "cpu", "cuda", "bank", "sm89", "folder", "imagenet"),
)


def number(rng: random.Random) -> Any:
    """Return a number, which may be none."""
    return rng.choice(NUMBERS)


def text(rng: random.Random) -> str:
    """Return a text."""
    return rng.choice(TEXTS)


def value(rng: random.Random, depth: int = 2) -> Any:
    """Return a value as JSON and TOML know them."""
    kind = rng.randrange(10)
    if kind < 3:
        return number(rng)
    if kind < 7 or not depth:
        return text(rng)
    if kind == 7:
        return rng.choice([True, False])
    if kind == 8:
        count = rng.choice([0, 1, 2, 3, 100])
        return [value(rng, 0 if count > 3 else depth - 1) for _ in range(count)]
    return {text(rng): value(rng, depth - 1) for _ in range(rng.choice([0, 1, 3]))}


def toml(rng: random.Random, what: Any) -> str:
    """Return a value as TOML."""
    if isinstance(what, bool):
        return str(what).lower()
    if isinstance(what, float):
        return repr(what).replace("nan", rng.choice(["nan", "-nan"]))
    if isinstance(what, int):
        return rng.choice([str(what), hex(what) if what >= 0 else str(what)])
    if isinstance(what, str):
        return (
            json.dumps(what, ensure_ascii=True).replace("\\/", "/")
            if _is_plain(what)
            else _escaped(what)
        )
    if isinstance(what, list):
        return f"[{', '.join(toml(rng, item) for item in what)}]"
    pairs = (f"{toml(rng, key)} = {toml(rng, item)}" for key, item in what.items())
    return f"{{{', '.join(pairs)}}}"


def _is_plain(what: str) -> bool:
    return what.isascii() and what.isprintable()


def _escaped(what: str) -> str:
    """Return a text with every character by its number, as TOML takes them all but surrogates."""
    return '"' + "".join(f"\\U{ord(letter):08X}" for letter in what) + '"'


def bytes_replaced(rng: random.Random, content: bytes, most: int = 8) -> bytes:
    """Return bytes of which a few are others."""
    changed = bytearray(content or b"x")
    for _ in range(rng.randint(1, most)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def bytes_removed(rng: random.Random, content: bytes) -> bytes:
    """Return bytes without some in the middle."""
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:first] + content[last:]


def argument(rng: random.Random) -> str:
    """Return a text that a command line can hold, which no NUL can be in."""
    kind = rng.randrange(8)
    if kind == 0:
        return os.fsdecode(rng.choice([b"\xff", b"a\xe9b", b"\xed\xa0\x80", b"\x80/x"]))
    if kind == 1:
        return rng.choice(
            ["--help", "--version", "--traceback", "--nothing", "-h", "-c", "@x", "="]
        )
    if kind == 2:
        return "z" * rng.choice([255, 256, 4096, 100_000])
    return text(rng).replace("\0", "0")
