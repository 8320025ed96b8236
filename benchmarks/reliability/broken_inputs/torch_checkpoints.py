"""Broken torch checkpoints: zip archives, older formats, and tensors that are not what they say.

Not tested: checkpoints of torch before 0.4, and those of other devices' storages.
"""

import io
import pickle
import pickletools
import random
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability.broken_inputs import networks, pickles
from benchmarks.reliability.broken_inputs.binary import (
    GENERAL,
    OF_ARCHIVES,
    Member,
    any_of,
    members,
    zipped,
)
from benchmarks.reliability.broken_inputs.harness import Broken, Format

_SIZES = (-1, 0, 1, 2**20, 2**31, 2**33, 2**40, 2**62)
_HEAD = "fc.weight"


def broken_archive(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break what torch.save writes."""
    choice = rng.random()
    if choice < 0.15:
        return any_of(rng, content, GENERAL)
    if choice < 0.4:
        return any_of(rng, content, OF_ARCHIVES)
    parts = members(content)
    number = next(n for n, part in enumerate(parts) if part.name.endswith("/data.pkl"))
    what, changed = pickles.broken(rng, parts[number].content)
    parts[number] = parts[number]._replace(content=changed)
    return what, zipped(parts)


def broken_legacy(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break a file of the format before the archives: pickles, and storages behind them."""
    if rng.random() < 0.4:
        return any_of(rng, content, GENERAL)
    stream = io.BytesIO(content)
    ends = [0]
    for _ in range(5):  # magic number, version, system, the object, the keys of its storages
        list(pickletools.genops(stream))
        ends.append(stream.tell())
    number = rng.choice((0, 1, 2, 3, 3, 3, 4))
    begin, end = ends[number], ends[number + 1]
    what, changed = pickles.broken(rng, content[begin:end])
    return f"pickle {number}: {what}", content[:begin] + changed + content[end:]


class _Storage:
    """Stands for a storage, whose persistent id may say anything."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


class _Tensor:
    """Stands for a tensor that is rebuilt by a function of torch."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.parts if isinstance(obj, _Storage) else None


def lying_tensors(rng: random.Random, tensors: dict[str, torch.Tensor]) -> tuple[str, bytes]:
    """Return a checkpoint of which one tensor's storage, size, stride or type is a lie."""
    liar = rng.choice((_HEAD, "fc.bias", "conv1.weight", "bn1.running_var", *tensors))
    kind = rng.choice(list(_LIES))
    stored: dict[str, object] = {}
    parts = [Member("archive/version", b"3\n"), Member("archive/byteorder", b"little")]
    for number, (name, tensor) in enumerate(tensors.items()):
        fields = _Fields(number, tensor)
        if name == liar:
            _LIES[kind](rng, fields)
        stored[name] = fields.pickled()
        parts.append(Member(f"archive/data/{number}", fields.data))
    if kind == "extra":
        stored |= {f"{liar}_orig": stored[liar], f"{liar}_mask": stored[liar]}
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(stored)
    parts.append(Member("archive/data.pkl", buffer.getvalue()))
    return f"{liar}: {kind}", zipped(parts)


class _Fields:
    """All that a checkpoint says of a tensor."""

    def __init__(self, number: int, tensor: torch.Tensor) -> None:
        self.kind: object = torch.FloatStorage
        if tensor.dtype == torch.int64:
            self.kind = torch.LongStorage
        self.key: object = str(number)
        self.device: object = "cpu"
        self.count: object = tensor.numel()
        self.offset: object = 0
        self.size: object = tuple(tensor.shape)
        self.stride: object = tensor.stride()
        self.data = tensor.numpy().tobytes()
        self.function: Any = torch._utils._rebuild_tensor_v2
        self.before: tuple[object, ...] | None = None

    def pickled(self) -> _Tensor:
        """Return what is pickled for it."""
        storage = _Storage("storage", self.kind, self.key, self.device, self.count)
        first = (storage, self.offset, self.size, self.stride)
        return _Tensor(self.function, *(self.before or (*first, False, {})))


def _count(rng: random.Random, fields: _Fields) -> None:
    fields.count = rng.choice((*_SIZES, "x", None, 1.5))


def _offset(rng: random.Random, fields: _Fields) -> None:
    fields.offset = rng.choice((*_SIZES, "x", None))


def _size(rng: random.Random, fields: _Fields) -> None:
    fields.size = rng.choice(
        ((rng.choice(_SIZES),), (2**20, 2**20), (2**40, 0), (-1, -1), (), None, "x", (1,) * 70)
    )
    if isinstance(fields.size, tuple):
        fields.stride = (rng.choice((0, 1)),) * len(fields.size)


def _expanded(rng: random.Random, fields: _Fields) -> None:
    """Make it huge without any data: every stride is 0."""
    shape = fields.size if isinstance(fields.size, tuple) else ()
    factor = rng.choice((2**10, 2**20, 2**30, 2**40))
    fields.size = (factor, *shape[1:])
    fields.stride = (0,) * len(fields.size)


def _stride(rng: random.Random, fields: _Fields) -> None:
    shape = fields.size if isinstance(fields.size, tuple) else ()
    fields.stride = rng.choice(
        (tuple(rng.choice(_SIZES) for _ in shape), (0,) * len(shape), (1,), None, "x")
    )


def _short(rng: random.Random, fields: _Fields) -> None:
    fields.data = rng.choice((b"", fields.data[:-1], fields.data[: len(fields.data) // 2]))


def _type(rng: random.Random, fields: _Fields) -> None:
    fields.kind = rng.choice(
        (torch.DoubleStorage, torch.HalfStorage, torch.BFloat16Storage, torch.BoolStorage,
         torch.ByteStorage, torch.ComplexFloatStorage, torch.QInt8Storage, "x", None, int,
         torch.UntypedStorage)
    )  # fmt: skip


def _key(rng: random.Random, fields: _Fields) -> None:
    fields.key = rng.choice(("999", "../version", "0", "", 7, None, "a" * 10_000))


def _device(rng: random.Random, fields: _Fields) -> None:
    fields.device = rng.choice(("cuda:0", "meta", "nowhere", "mps", "", None, "cuda:99", "xla"))


def _meta(rng: random.Random, fields: _Fields) -> None:
    fields.function = torch._utils._rebuild_meta_tensor_no_storage
    fields.before = (torch.float32, (rng.choice(_SIZES),), (1,), False)


def _wrapped(rng: random.Random, fields: _Fields) -> None:
    fields.function = rng.choice(
        (torch._utils._rebuild_parameter, torch._utils._rebuild_sparse_tensor,
         torch._utils._rebuild_qtensor, torch._utils._rebuild_tensor)
    )  # fmt: skip
    fields.before = rng.choice(((), (1,), (None, True, {}), (torch.strided, (1, 2)), ("x",) * 8))


def _values(rng: random.Random, fields: _Fields) -> None:
    fields.data = rng.choice((b"\xff", b"\0", b"\x7f")) * len(fields.data)


_LIES: dict[str, Callable[[random.Random, _Fields], None]] = {
    "count": _count, "offset": _offset, "size": _size, "expanded": _expanded, "stride": _stride,
    "short storage": _short, "type": _type, "key": _key, "device": _device, "meta": _meta,
    "wrapped": _wrapped, "values": _values, "extra": _expanded,
}  # fmt: skip


def _sparse(rng: random.Random) -> dict[str, object]:
    """Return a state dict with a sparse tensor that would be huge when it is dense."""
    size = rng.choice((2**10, 2**16, 2**20, 2**31))
    indices = torch.zeros(2, 1, dtype=torch.int64)
    tensor = torch.sparse_coo_tensor(indices, torch.ones(1), (size, size))
    return {_HEAD: tensor}


def _tar(content: bytes) -> bytes:
    """Return what looks like the oldest format, a tar archive of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _odd(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Return checkpoints of odd content, soundly written."""
    buffer = io.BytesIO()
    result: Sequence[tuple[str, Callable[[], object]]] = (
        ("sparse", lambda: _sparse(rng)),
        ("nothing", dict),
        ("a list", lambda: [1, 2, 3]),
        ("a tensor", lambda: torch.zeros(3)),
        ("nested", lambda: _nested(rng.choice((10, 400)))),
        ("numbers as names", lambda: {n: torch.zeros(2, 2) for n in range(10)}),
        ("odd names", lambda: {n: torch.zeros(2, 2) for n in ("\0", "a\nb", "\ud800", "", "..")}),
        ("many tensors", lambda: {f"t{n}": torch.zeros(1) for n in range(5000)}),
        ("complex", lambda: {_HEAD: torch.zeros(10, 64, dtype=torch.complex64)}),
        ("empty tensors", lambda: {_HEAD: torch.zeros(0, 64), "fc.bias": torch.zeros(0)}),
    )
    if rng.random() < 0.1:
        return "tar", _tar(content)
    name, make = rng.choice(result)
    torch.save(make(), buffer)
    return name, buffer.getvalue()


def _nested(depth: int) -> object:
    value: object = torch.zeros(2, 2)
    for _ in range(depth):
        value = {"state_dict": value}
    return value


def _prepare(shared: Path) -> None:
    tensors = networks.network().state_dict()
    torch.save(tensors, shared / "base.pt")
    torch.save(tensors, shared / "legacy.pt", _use_new_zipfile_serialization=False)


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    content = (shared / "base.pt").read_bytes()
    kind = rng.choice(("archive", "archive", "archive", "lie", "lie", "odd"))
    if kind == "archive":
        what, changed = broken_archive(rng, content)
    elif kind == "lie":
        tensors = torch.load(shared / "base.pt", weights_only=True)
        what, changed = lying_tensors(rng, tensors)
    else:
        what, changed = _odd(rng, content)
    return networks.weights_case(rng, folder, "student.pt", what, changed)


def _break_legacy(rng: random.Random, folder: Path, shared: Path) -> Broken:
    what, changed = broken_legacy(rng, (shared / "legacy.pt").read_bytes())
    return networks.weights_case(rng, folder, "student.pth", what, changed)


ARCHIVES = Format("torch archives", _prepare, _break_one)
LEGACY = Format("old torch files", _prepare, _break_legacy)
FORMATS = (ARCHIVES, LEGACY)
