"""Broken .npz files of images: headers that lie, arrays of another kind, pickles, and bombs."""

import io
import random
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.lib import format as npy

from benchmarks.reliability.broken_inputs.actions import CANARY
from benchmarks.reliability.broken_inputs.binary import (
    GENERAL,
    OF_ARCHIVES,
    Member,
    any_of,
    zipped,
)
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.onnx_graphs import sound_model

_SHAPE = (6, 16, 16, 3)
_HUGE = (-1, 0, 2**16, 2**31, 2**33, 2**40, 2**62, 2**63, 2**64)


class _Harmful:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({CANARY!r}, 'w')",)


def array_file(header: str, data: bytes, version: int = 1) -> bytes:
    """Return a .npy file with any header."""
    text = header.encode("latin1", "replace")
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def _header(shape: object, descr: str = "'|u1'", *, order: object = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def _of_header(rng: random.Random) -> tuple[str, bytes]:
    """Return an array whose header lies."""
    data = bytes(rng.randrange(256) for _ in range(4608))
    number = rng.choice(_HUGE)
    shape: object = rng.choice(
        (_SHAPE, (number,), (number, 16, 16, 3), (6, 16, 16, number), (number, number), (),
         (0, 16, 16, 3), "x", None, [6, 16, 16, 3], (1.5,), (1,) * 40, (1,) * 70)
    )  # fmt: skip
    descr = rng.choice(
        ("'|u1'", "'|u1'", "'<f4'", "'>f4'", "'|O'", "'<U1000000000'", "'|V5'", "'|S0'", "'|b1'",
         "'<M8[ns]'", "[('a', '|u1')]", "'<c8'", "'<f2'", "'<f16'", "'|V2147483647'", "'x'", "7",
         "[('a', '|O')]", f"__import__('os').mkdir('{CANARY}')", "(" * 500)
    )  # fmt: skip
    header = _header(shape, descr, order=rng.choice((False, True, None, 2)))
    if rng.random() < 0.2:
        header = rng.choice(
            ("{}", "", "(" * 5000, "{'descr': '|u1'}", " " * 60_000, "[1]" * 100, "1+1", "{" * 3000,
             header + " " * 20_000, f"open('{CANARY}', 'w')", "9" * 5000)
        )  # fmt: skip
    return f"header {header[:70].strip()!r}", array_file(
        header, data, rng.choice((1, 1, 1, 2, 3, 9))
    )


def _saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.asanyarray(array), allow_pickle=True)
    return buffer.getvalue()


def _of_kind(rng: random.Random) -> tuple[str, bytes]:
    """Return a sound array that is no bank of images."""
    x = np.random.default_rng(0).integers(0, 255, _SHAPE, np.uint8)
    kinds: Sequence[tuple[str, Callable[[], Any]]] = (
        ("Fortran order", lambda: np.asfortranarray(x)),
        ("floats NCHW", lambda: x.transpose(0, 3, 1, 2).astype("f4") / 255),
        ("big-endian floats", lambda: (x.transpose(0, 3, 1, 2) / 255).astype(">f4")),
        ("float16", lambda: (x.transpose(0, 3, 1, 2) / 255).astype("f2")),
        ("floats above 1", lambda: x.transpose(0, 3, 1, 2).astype("f4")),
        ("nan", lambda: np.full((6, 3, 16, 16), np.nan, "f4")),
        ("objects", lambda: np.array([_Harmful()], object)),
        ("texts", lambda: np.array(["a", "b"])),
        ("no images", lambda: x[:0]),
        ("a number", lambda: 7),
        ("grey", lambda: x[..., :1]),
        ("other size", lambda: x[:, :8]),
        ("integers", lambda: x.astype("i4")),
        ("truth values", lambda: x > 127),
        ("complex", lambda: x.astype("c8")),
        ("no width", lambda: np.zeros((5, 16, 0, 3), np.uint8)),
        ("record", lambda: np.zeros(3, [("a", "u1"), ("b", "f4")])),
        ("one dimension", x.ravel),
        ("five dimensions", lambda: x[None]),
        ("one image", lambda: x[:1]),
    )
    name, make = rng.choice(kinds)
    return name, _saved(make())


def broken(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Break a sound bank."""
    choice = rng.random()
    if choice < 0.15:
        return any_of(rng, content, GENERAL)
    if choice < 0.3:
        return any_of(rng, content, OF_ARCHIVES)
    if choice < 0.4:
        size = rng.choice((2**26, 2**31, 3 * 2**30))
        header = array_file(_header((size // 768, 16, 16, 3)), b"")
        return f"bomb of {size} bytes", zipped([Member("x.npy", header, zeros=size)])
    what, result = (_of_header if choice < 0.7 else _of_kind)(rng)
    name = rng.choice(("x.npy", "x.npy", "x.npy", "x", "y.npy", "../x.npy", "X.npy"))
    parts = [Member(name, result, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))]
    if rng.random() < 0.2:
        parts.append(Member(rng.choice(("x.npy", "z.npy", "evil.py")), b"\x80\x02cos\nsystem\n."))
    if rng.random() < 0.1:
        return f"{what} alone", result
    return f"{what} as {name}", zipped(parts)


def _prepare(shared: Path) -> None:
    onnx.save(sound_model(), str(shared / "net.onnx"))
    x = np.random.default_rng(0).integers(0, 255, _SHAPE, np.uint8)
    np.savez_compressed(shared / "bank.npz", x=x)


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    what, content = broken(rng, (shared / "bank.npz").read_bytes())
    (folder / "bank.npz").write_bytes(content)
    (folder / "net.onnx").write_bytes((shared / "net.onnx").read_bytes())
    options = ["--onnx", "net.onnx", "--out", "engine", "--calibration", "bank.npz"]
    kind = rng.choice((["--backend", "onnxruntime"], ["--backend", "openvino"]))
    return Broken(what, ["build", *options, *kind, "--precision", "int8"], ("engine",))


BANKS = Format("image banks", _prepare, _break_one)
FORMATS = (BANKS,)
