"""Broken pickles: opcodes, globals, memo, sizes, and the tensors of torch that they describe."""

import pickle
import pickletools
import random
import struct
from collections.abc import Callable, Sequence

from benchmarks.reliability.broken_inputs.actions import CANARY

_HUGE = (-1, 0, 2**16, 2**31 - 1, 2**31, 2**33, 2**40, 2**62, 2**63 - 1, 2**64, 10**40)
_CALL = f"touch {CANARY}"
_Called = tuple[str, str, tuple[object, ...]]
_HARMFUL: Sequence[_Called] = (
    ("os", "system", (_CALL,)),
    ("posix", "system", (_CALL,)),
    ("subprocess", "getoutput", (_CALL,)),
    ("subprocess", "Popen", (["touch", CANARY],)),
    ("builtins", "eval", (f"open({CANARY!r}, 'w')",)),
    ("builtins", "exec", (f"open({CANARY!r}, 'w')",)),
    ("builtins", "open", (CANARY, "w")),
    ("io", "open", (CANARY, "w")),
    ("__builtin__", "eval", (f"open({CANARY!r}, 'w')",)),
    ("pathlib", "Path.touch", (CANARY,)),
    ("shutil", "copy", ("/etc/hostname", CANARY)),
    ("torch", "save", ((), CANARY)),
    ("torch.hub", "load", ("a/b", "c")),
    ("torch", "load", ("/dev/zero",)),
    ("torch.serialization", "load", ("/dev/zero",)),
    ("torch.storage", "_load_from_bytes", (b"\x80\x02cos\nsystem\nq\x00.",)),
    ("torch", "from_file", (CANARY, True, 10)),
    ("torch.jit", "load", ("x",)),
    ("numpy", "fromfile", ("/dev/zero",)),
    ("numpy", "save", (CANARY, 1)),
    ("numpy.core.multiarray", "scalar", ("O8", b"\x80\x02cos\nsystem\n.")),
    ("pickle", "loads", (b"cos\nsystem\n(S'touch x'\ntR.",)),
    ("importlib", "import_module", ("antigravity",)),
    ("runpy", "run_path", ("x.py",)),
    ("stages.networks.weights", "read", ("x", "y")),
    ("operator", "methodcaller", ("touch",)),
    ("functools", "reduce", (1, 2)),
)
_HARMLESS: Sequence[_Called] = (
    ("collections", "OrderedDict", ()),
    ("collections", "defaultdict", (1,)),
    ("collections", "deque", (1, 2)),
    ("collections", "Counter", ("abc",)),
    ("argparse", "Namespace", ()),
    ("mymodel.models", "Net", (1, 2, 3)),
    ("pytorch_lightning.utilities.parsing", "AttributeDict", ()),
    ("pathlib", "PosixPath", ("/", "x")),
    ("numpy", "dtype", ("f4", 0, 1)),
    ("numpy._core.multiarray", "scalar", (1, b"abcd")),
    ("torch", "Size", ((1, 2),)),
    ("torch", "device", ("cuda:99",)),
    ("torch", "device", ("nowhere",)),
    ("torch", "Tensor", (3,)),
    ("torch.nn.parameter", "Parameter", (1,)),
    ("torch._utils", "_rebuild_parameter", (1, True, {})),
    ("torch._utils", "_rebuild_tensor", (1, 2, 3, 4)),
    ("torch._utils", "_rebuild_sparse_tensor", (1, (2, 3))),
    ("torch._utils", "_rebuild_meta_tensor_no_storage", (1, (2, 3), (1, 1), False)),
    ("torch._tensor", "_rebuild_from_type_v2", (1, 2, (), {})),
    ("torch.nn.modules.linear", "Linear", ()),
    ("builtins", "set", ([1],)),
    ("builtins", "getattr", ((), "count")),
    ("\u00e9", "\u00e9", ()),
    ("", "", ()),
    ("a" * 10_000, "b", ()),
)
_LARGE: Sequence[_Called] = (
    ("builtins", "bytearray", (2**40,)),
    ("builtins", "bytearray", (2**31,)),
    ("builtins", "range", (2**40,)),
    ("builtins", "list", ("a" * 1000,)),
    ("torch", "FloatTensor", (2**33,)),
    ("torch", "FloatTensor", (2**60,)),
    ("torch", "Tensor", (2**33,)),
    ("torch", "FloatStorage", (2**33,)),
    ("torch", "UntypedStorage", (2**40,)),
    ("torch", "Size", ((2**62, 2**62),)),
    ("_codecs", "encode", ("a" * 100_000, "latin1")),
    ("torch._utils", "_rebuild_meta_tensor_no_storage", (1, (2**40,), (1,), False)),
)


def broken(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break a sound pickle, so that it mostly stays one."""
    return rng.choice((_one_operation, _one_operation, _with_call, _with_call, _structure))(
        rng, content
    )


Operation = tuple[pickletools.OpcodeInfo, object, bytes]
"""What an operation is, its argument, and its bytes."""


def operations(content: bytes) -> list[Operation]:
    """Return the operations of a sound pickle."""
    steps = list(pickletools.genops(content))
    ends = [place or 0 for _, _, place in steps[1:]] + [len(content)]
    return [
        (opcode, argument, content[place:end])
        for (opcode, argument, place), end in zip(steps, ends, strict=True)
        if place is not None
    ]


def _one_operation(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    steps = operations(content)
    numbers = [n for n, (_, argument, _) in enumerate(steps) if isinstance(argument, int | str)]
    number = rng.choice(numbers) if rng.random() < 0.7 else rng.randrange(len(steps))
    opcode, argument, code = steps[number]
    kind = rng.choice(("changed", "changed", "changed", "left out", "doubled", "another", "noise"))
    match kind:
        case "changed":
            new = _changed(rng, opcode.name, argument, code)
        case "left out":
            new = b""
        case "doubled":
            new = code * 2
        case "another":
            new = rng.choice(steps)[2]
        case _:
            new = bytes([rng.randrange(256)]) + code[1:]
    pieces = [piece for _, _, piece in steps]
    pieces[number] = new
    return f"{opcode.name} {str(argument)[:30]!r} {kind}: {new[:24]!r}", b"".join(pieces)


def _changed(rng: random.Random, name: str, argument: object, code: bytes) -> bytes:
    """Return an operation of the same kind with another argument."""
    if "PUT" in name or "GET" in name:
        return code[:1] + rng.randbytes(len(code) - 1)
    if name == "GLOBAL":
        module, attribute, _ = rng.choice((*_HARMLESS, *_HARMFUL))
        return f"c{module}\n{attribute}\n".encode()
    if isinstance(argument, bool) or not isinstance(argument, int | str | bytes | float):
        return rng.choice((b"N", b"\x88", b"]", b"}", b")", b"K\x01"))
    if isinstance(argument, int):
        value = rng.choice((*_HUGE, argument + 1, argument - 1, argument * 2, rng.randrange(1000)))
        return pickled(value)
    return rng.choice(
        (pickled("x" * 100_000), pickled(""), pickled("../x"), pickled("\u0000"), pickled(7),
         pickled("cuda:0"), b"X\xff\xff\xff\x7fabc", b"\x8d" + b"\xff" * 8, b"N", pickled("999"))
    )  # fmt: skip


def pickled(value: object) -> bytes:
    """Return what pushes a value, without the beginning and the end of a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def _with_call(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Call something while the pickle is read, and leave its result beside the weights."""
    kind, calls = rng.choice((("harmful", _HARMFUL), ("harmless", _HARMLESS), ("large", _LARGE)))
    module, name, arguments = rng.choice(calls)
    pushed = b"".join(map(pickled, arguments))
    form = rng.choice(("REDUCE", "NEWOBJ", "INST", "OBJ", "STACK_GLOBAL", "BUILD", "EXT"))
    named = f"c{module}\n{name}\n".encode()
    match form:
        case "REDUCE":
            code = named + b"(" + pushed + b"tR"
        case "NEWOBJ":
            code = named + b"(" + pushed + b"t\x81"
        case "INST":
            code = b"(" + pushed + f"i{module}\n{name}\n".encode()
        case "OBJ":
            code = b"(" + named + pushed + b"o"
        case "STACK_GLOBAL":
            code = pickled(module) + pickled(name) + b"\x93(" + pushed + b"tR"
        case "BUILD":
            code = named + b"(" + pushed + b"tR}" + pickled("a") + pickled(1) + b"sb"
        case _:
            code = b"\x82\x01"
    return f"{kind} {module[:30]}.{name} by {form}", _beside(rng, content, code)


def _beside(rng: random.Random, content: bytes, code: bytes) -> bytes:
    """Return a pickle in which `code` pushes a value beside the weights, or in their place."""
    body, start = content[:-1], len(content[:2]) if content[:1] == b"\x80" else 0
    place = rng.choice(("beside", "beside", "around", "ahead", "alone"))
    if place == "beside":
        return (
            body[:start]
            + b"}("
            + pickled("state_dict")
            + body[start:]
            + pickled("x")
            + code
            + b"u."
        )
    if place == "around":
        return body[:start] + b"(" + body[start:] + code + b"t."
    if place == "ahead":
        return body[:start] + code + b"0" + body[start:] + b"."
    return body[:start] + code + b"."


def _structure(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Nest, repeat or stretch so much that whoever reads it without care falls."""
    start = content[:2] if content[:1] == b"\x80" else b""
    many = rng.choice((1_000, 100_000))
    doubling = b"".join(b"(h%ch%ctq%c" % (n, n, n + 1) for n in range(60))
    forms: Sequence[tuple[str, Callable[[], bytes]]] = (
        ("deep lists", lambda: _beside(rng, content, b"]" * many + b"a" * (many - 1))),
        ("deep tuples", lambda: _beside(rng, content, b")" + b"\x85" * many)),
        ("deep dicts", lambda: _beside(rng, content, b"}N" * many + b"N" + b"s" * many)),
        ("deep key", lambda: _beside(rng, content, b"}" + b")" + b"\x85" * many + b"Ns")),
        ("many marks", lambda: start + b"(" * many + b"."),
        ("no stop", lambda: content[:-1]),
        ("stop alone", lambda: start + b"."),
        ("pops", lambda: start + b"0" * many + b"."),
        ("huge memo", lambda: _beside(rng, content, b"Nr\xff\xff\xff\x7f")),
        ("missing memo", lambda: _beside(rng, content, b"j\xff\xff\xff\x7f")),
        ("list in itself", lambda: _beside(rng, content, b"]q\xfeh\xfea")),
        ("dict in itself", lambda: _beside(rng, content, b"}q\xfe" + pickled("a") + b"h\xfes")),
        ("doubling", lambda: _beside(rng, content, b"Nq\x00" + doubling)),
        ("huge long", lambda: _beside(rng, content, b"\x8b\xff\xff\xff\x7fabc")),
        ("long of digits", lambda: _beside(rng, content, b"L" + b"9" * 100_000 + b"L\n")),
        ("huge frame", lambda: b"\x80\x04\x95" + b"\xff" * 8 + content[2:]),
        ("protocol", lambda: b"\x80" + bytes([rng.choice((0, 1, 3, 4, 5, 6, 255))]) + content[2:]),
        ("huge bytes", lambda: _beside(rng, content, b"\x8e" + struct.pack("<Q", 2**40))),
        ("huge bytearray", lambda: _beside(rng, content, b"\x96" + struct.pack("<Q", 2**40))),
        ("bad escape", lambda: _beside(rng, content, b"S'\\x'\n")),
        ("bad text", lambda: _beside(rng, content, b"X\x02\x00\x00\x00\xff\xfe")),
        ("text id", lambda: _beside(rng, content, b"Pstorage\n")),
        ("other id", lambda: _beside(rng, content, pickled(("storage", 1, 2)) + b"Q")),
        ("dict of lists", lambda: _beside(rng, content, b"}]Ns")),
        ("a number", lambda: start + pickled(7) + b"."),
    )  # fmt: skip
    name, make = rng.choice(forms)
    return f"{name} ({many})", make()
