"""Broken fields of ONNX files: what the wire holds, and what single fields say."""

import random
from typing import Any

from onnx import ModelProto

HUGE = (-(2**63), -2, -1, 0, 1, 2**16, 2**31 - 1, 2**31, 2**33, 2**40, 2**62, 2**63 - 1)


def wire(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Add or change fields as protobuf's wire format has them, whatever their message allows."""
    deep = b""
    for _ in range(3000):
        deep = b"\x3a" + _varint(len(deep)) + deep  # a graph in place of a graph
    form, piece = rng.choice(
        (
            ("graph as a number", b"\x38\x01"),
            ("version as a text", b"\x0a\x03abc"),
            ("group without end", b"\x3b\x08\x01"),
            ("end without group", b"\x3c"),
            ("unknown wire type", b"\x3e\x01"),
            ("field zero", b"\x00\x01"),
            ("long number", b"\x08" + b"\xff" * 12),
            ("length of 4 GiB", b"\x3a\xff\xff\xff\xff\x0f"),
            ("length beyond the end", b"\x3a" + _varint(len(content) * 2)),
            ("second graph", b"\x3a\x02\x12\x00"),
            ("no UTF-8", b"\x12\x02\xff\xfe"),
            ("deep graphs", deep),
            ("a million fields", b"\xf8\x01\x01" * 1_000_000),
        )
    )
    where = rng.choice(("ahead", "behind", "alone"))
    changed = {"ahead": piece + content, "behind": content + piece, "alone": piece}[where]
    return f"{form} {where}", changed


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(rng: random.Random, model: ModelProto) -> str:
    """Change, clear or double one field of one of the messages."""
    messages = list(_messages(model))
    message = rng.choice(messages)
    descriptor = rng.choice(message.DESCRIPTOR.fields)
    name = f"{message.DESCRIPTOR.name}.{descriptor.name}"
    value = getattr(message, descriptor.name)
    if descriptor.is_repeated:
        return f"{name} {_repeated(rng, value, descriptor)}"
    if descriptor.message_type is not None:
        if rng.random() < 0.5:
            message.ClearField(descriptor.name)
            return f"{name} cleared"
        value.SetInParent()
        return f"{name} present"
    new = _scalar(rng, descriptor)
    setattr(message, descriptor.name, new)
    return f"{name} = {str(new)[:30]!r}"


def _messages(message: Any) -> Any:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for inner in value if descriptor.is_repeated else [value]:
            yield from _messages(inner)


def _repeated(rng: random.Random, values: Any, descriptor: Any) -> str:
    kind = rng.choice(("emptied", "doubled", "one left out", "reversed", "one more"))
    kept = list(values)
    match kind:
        case "emptied":
            kept = []
        case "doubled":
            kept += kept
        case "one left out" if kept:
            del kept[rng.randrange(len(kept))]
        case "reversed":
            kept.reverse()
        case _:
            if descriptor.message_type is None:
                kept.append(_scalar(rng, descriptor))
            else:
                copies = [type(v).FromString(v.SerializeToString()) for v in kept]
                del values[:]
                values.extend(copies)
                values.add()
                return "with an empty one"
    if descriptor.message_type is not None:
        kept = [type(v).FromString(v.SerializeToString()) for v in kept]
    del values[:]
    values.extend(kept)
    return kind


def _scalar(rng: random.Random, descriptor: Any) -> Any:
    if descriptor.enum_type is not None:
        return rng.choice([v.number for v in descriptor.enum_type.values])
    match descriptor.cpp_type:
        case descriptor.CPPTYPE_STRING if descriptor.type == descriptor.TYPE_BYTES:
            return rng.choice((b"", b"\0" * 3, b"\xff" * 100, rng.randbytes(40)))
        case descriptor.CPPTYPE_STRING:
            return rng.choice(
                ("", "x", "Conv", "Add", "If", "Loop", "EPContext", "logits", "images", "a" * 5000,
                 "../x", "a\0b", "com.microsoft", "ai.onnx.ml", "FLOAT", "\x1b[31m", "é\u202e")
            )  # fmt: skip
        case descriptor.CPPTYPE_FLOAT | descriptor.CPPTYPE_DOUBLE:
            return rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30))
        case descriptor.CPPTYPE_INT32:
            return rng.choice([v for v in HUGE if -(2**31) <= v < 2**31] + [99, 8, 16])
        case descriptor.CPPTYPE_UINT64:
            return rng.choice([v for v in HUGE if v >= 0])
        case _:
            return rng.choice((*HUGE, 7, 99, 1000))
