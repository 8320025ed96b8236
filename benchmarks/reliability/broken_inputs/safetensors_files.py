"""Broken safetensors files: headers that lie, JSON that is odd, and what any file can have."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reliability.broken_inputs import networks
from benchmarks.reliability.broken_inputs.binary import GENERAL, any_of
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_HUGE = (2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
_DTYPES = (
    "F64", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "U16", "C64",
    "F4", "X1", "", "f32", "\u0000",
)  # fmt: skip
_NAMES = (
    "", "..", "../../x", "/etc/x", "a\u0000b", "a" * 100_000, "é\ud800", "a\nb", "__metadata__",
    "conv1.weight ", "CONV1.WEIGHT", "\u202e", "module.", "<script>",
)  # fmt: skip
_Header = dict[str, Any]


def broken(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break a sound safetensors file."""
    if rng.random() < 0.25:
        return any_of(rng, content, GENERAL)
    (length,) = struct.unpack_from("<Q", content)
    header, data = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.2:
        value: Any = rng.choice(
            (0, 1, 7, length - 1, length + 1, len(content), 100_000_001, *_HUGE[:-2])
        )
        return f"header length {value}", struct.pack("<Q", value) + header + data
    if rng.random() < 0.25:
        what, text = rng.choice(_TEXTS)
        return what, _packed(text, data)
    fields = json.loads(header)
    what = rng.choice(_CHANGES)(rng, fields)
    text = json.dumps(fields).encode("utf-8", "surrogatepass")
    return what, _packed(text, data)


def _packed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


_TEXTS: Sequence[tuple[str, bytes]] = (
    ("a list as header", b"[]"),
    ("empty header", b"{}"),
    ("no JSON", b"{hello}"),
    ("deep JSON", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    ("deep metadata", b'{"__metadata__":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ("a million blanks", b"{" + b" " * 1_000_000 + b"}"),
    ("metadata alone", b'{"__metadata__":{"a":"b"}}'),
    ("metadata of numbers", b'{"__metadata__":{"a":1,"b":null}}'),
    ("metadata twice", b'{"__metadata__":{"a":"b"},"__metadata__":{"a":"c"}}'),
    ("byte order mark", b"\xef\xbb\xbf{}"),
    ("no UTF-8", b'{"\xff\xfe":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
    ("one name twice", (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}')),
    ("many tensors", b"{" + b",".join(
        b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(50_000)
    ) + b"}"),
    ("no numbers", b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'),
    ("long number", b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}'),
)  # fmt: skip


def _one(rng: random.Random, fields: _Header) -> tuple[str, _Header]:
    name = rng.choice([name for name in fields if name != "__metadata__"])
    return name, fields[name]


def _offsets(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    begin, end = field["data_offsets"]
    field["data_offsets"] = rng.choice(
        ([end, begin], [begin, begin], [0, 4], [begin + 4, end + 4], [begin, rng.choice(_HUGE)],
         [-4, 0], [begin], [begin, end, end], "x", None, [0.5, 1.5], [begin, end + 1])
    )  # fmt: skip
    return f"offsets of {name}: {field['data_offsets']}"


def _shape(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    shape = field["shape"]
    field["shape"] = rng.choice(
        ([rng.choice(_HUGE)], [], [0], [-1], [*shape, 0], [1] * 1000, [*shape[::-1]], "x", None,
         [2**32, 2**32], [0, 2**62], [1.5], [True], [[1]], [1, *shape])
    )  # fmt: skip
    return f"shape of {name}: {str(field['shape'])[:40]}"


def _empty_huge(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    field["shape"] = [0, rng.choice(_HUGE[:5])]
    field["data_offsets"] = [0, 0]
    return f"{name} is empty and {field['shape']}"


def _dtype(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    field["dtype"] = rng.choice((*_DTYPES, None, 7))
    return f"type of {name}: {field['dtype']!r}"


def _other_name(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    new = rng.choice(_NAMES)
    fields[new] = field
    if rng.random() < 0.5:
        del fields[name]
    return f"{name} called {new[:20]!r}"


def _fewer(rng: random.Random, fields: _Header) -> str:
    name, field = _one(rng, fields)
    key = rng.choice((*field, "", "extra"))
    if key in field:
        del field[key]
    elif key:
        field[key] = {"a": [1]}
    else:
        del fields[name]
    return f"{name}: {key or 'the tensor'} left out or added"


def _metadata(rng: random.Random, fields: _Header) -> str:
    value: Any = rng.choice(
        (None, [], "x", 7, {}, {"madpipe.card": "{"}, {"madpipe.card": "{}"}, {"madpipe.card": 7},
         {"madpipe.card": '{"arch":"resnet8"}'}, {"a": "b" * 1_000_000}, {"a": {"b": "c"}},
         {"madpipe.card": "[" * 100_000}, {"madpipe.card": _card(rng)})
    )  # fmt: skip
    fields["__metadata__"] = value
    return f"metadata: {str(value)[:50]}"


def _card(rng: random.Random) -> str:
    """Return a card of madpipe's with one field that cannot be."""
    card: _Header = {
        "arch": "resnet8", "channels": 1, "image_size_px": 8, "mean": [0.0], "std": [1.0],
        "classes": [str(n) for n in range(10)], "resize_px": 8,
    }  # fmt: skip
    key = rng.choice(list(card))
    card[key] = rng.choice(
        (None, -1, 0, 2**31, 2**63, "x", "", [], [[]], {}, 1e308, "../x.py:f", ["a"] * 100_000,
         "timm:x", "torchvision:resnet18", "file:onnx", "file:pt2", [0.0, 0.0, 0.0], 1_000_000)
    )  # fmt: skip
    return json.dumps(card)


_CHANGES: Sequence[Callable[[random.Random, _Header], str]] = (
    _offsets, _shape, _empty_huge, _dtype, _other_name, _fewer, _metadata,
)  # fmt: skip


def _prepare(shared: Path) -> None:
    networks.write_safetensors(shared / "base.safetensors")


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    what, content = broken(rng, (shared / "base.safetensors").read_bytes())
    return networks.weights_case(rng, folder, "student.safetensors", what, content)


SAFETENSORS = Format("safetensors", _prepare, _break_one)
FORMATS = (SAFETENSORS,)
