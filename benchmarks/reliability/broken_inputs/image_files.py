"""Broken images: each format that Pillow writes, and headers of those that it only reads.

EPS, PDF and what else needs a program is among them, since a suffix says nothing of a content.
Not tested: formats whose readers are plug-ins of Pillow that are not installed.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from benchmarks.reliability.broken_inputs.binary import GENERAL, any_of
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.image_banks import array_file
from benchmarks.reliability.broken_inputs.onnx_graphs import sound_model

_WRITTEN = (
    "AVIF", "BLP", "BMP", "DDS", "DIB", "EPS", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000",
    "MPO", "MSP", "PCX", "PDF", "PNG", "PPM", "QOI", "SGI", "SPIDER", "TGA", "TIFF", "WEBP", "XBM",
)  # fmt: skip
_MODES = {
    "MSP": "1", "XBM": "1", "SPIDER": "F", "BLP": "P", "ICNS": "RGBA",
}  # fmt: skip
_SUFFIXES = (".png", ".jpg", ".bmp", ".webp", ".tif", ".ppm", ".PNG")
_SIDE_PX = 20


def picture(mode: str = "RGB", side_px: int = _SIDE_PX) -> Image.Image:
    """Return a picture that is always the same."""
    levels = np.random.default_rng(0).integers(0, 255, (side_px, side_px, 3), np.uint8)
    return Image.fromarray(levels).convert(mode)


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file of a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sound(kind: str) -> bytes:
    """Return a sound file of a format."""
    side_px = 32 if kind == "ICNS" else _SIDE_PX
    image = picture(_MODES.get(kind, "RGB"), side_px)
    if kind in ("GIF", "MPO"):
        return written(image, kind, save_all=True, append_images=[picture("L")] * 3)
    return written(image, kind)


def _odd(rng: random.Random) -> tuple[str, bytes]:
    """Return a sound picture that is not as most are."""
    kinds: Sequence[tuple[str, Callable[[], bytes]]] = (
        ("CMYK JPEG", lambda: written(picture("CMYK"), "JPEG")),
        ("16 bits", lambda: written(Image.fromarray(np.full((20, 20), 40_000, np.uint16)), "PNG")),
        ("32 bits", lambda: written(picture("I"), "TIFF")),
        ("floats", lambda: written(picture("F"), "TIFF")),
        ("palette", lambda: written(picture("P"), "PNG", transparency=0)),
        ("LAB", lambda: written(picture("LAB"), "TIFF")),
        ("one pixel", lambda: written(picture(side_px=1), "PNG")),
        ("thin", lambda: written(picture().resize((20_000, 1)), "PNG")),
        ("thin and high", lambda: written(picture().resize((1, 20_000)), "JPEG")),
        ("rotated", lambda: _rotated(rng.choice((0, 3, 6, 9, 65_535)))),
        ("two pages", lambda: written(picture(), "TIFF", save_all=True, append_images=[picture()])),
        ("bits", lambda: written(picture("1"), "TIFF", compression="group4")),
        ("moving PNG", lambda: written(picture(), "PNG", save_all=True, append_images=[picture()])),
        ("4 channels", lambda: written(picture("RGBA"), "WEBP")),
    )  # fmt: skip
    name, make = rng.choice(kinds)
    return name, make()


def _rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return written(picture(), "JPEG", exif=exif)


def _png(width: int, height: int, depth: int = 8, colour: int = 2, chunks: bytes = b"") -> bytes:
    """Return a PNG with any header and few bytes of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(
        ">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, 0
    )
    pixels = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )  # fmt: skip


def _text_chunk(size: int) -> bytes:
    body = b"zTXta\0\0" + zlib.compress(bytes(min(size, 1 << 28)), 1)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _bomb(rng: random.Random) -> tuple[str, bytes]:
    """Return a file that declares far more pixels than it holds, or more than memory does."""
    side = rng.choice((0, 1, 9_000, 13_000, 20_000, 65_535, 2**31 - 1, 2**32 - 1))
    other = rng.choice((side, 1, 0))
    size = struct.pack("<HH", side & 0xFFFF, other & 0xFFFF)
    little, large = (struct.pack(f"{order}II", side, other) for order in "<>")
    kinds: Sequence[tuple[str, Callable[[], bytes]]] = (
        ("PNG", lambda: _png(side, other, rng.choice((8, 16, 1)), rng.choice((0, 2, 3, 6)))),
        ("PNG text", lambda: _png(20, 20, chunks=_text_chunk(1 << 28 >> rng.randrange(8)))),
        ("BMP", lambda: _patched("BMP", 18, little)),
        ("GIF", lambda: _patched("GIF", 6, size)),
        ("TGA", lambda: _patched("TGA", 12, size)),
        ("PPM", lambda: f"P6\n{side} {other}\n255\n".encode() + bytes(5000)),
        ("PPM text", lambda: b"P3\n" + b"9" * 5000 + b" 1\n255\n"),
        ("PPM maximum", lambda: f"P5\n20 20\n{side}\n".encode() + bytes(900)),
        ("PSD", lambda: b"8BPS\0\1" + bytes(6) + struct.pack(
            ">HIIHH", 3, side & 0xFFFFFFFF, other & 0xFFFFFFFF, 8, 3) + bytes(2000)),
        ("DDS", lambda: _patched("DDS", 12, little)),
        ("QOI", lambda: b"qoif" + large + b"\3\0" + bytes(99)),
        ("FITS", lambda: _fits(side)),
        ("XPM", lambda: f'/* XPM */\n"{side} {other} 1 1",\n"a c #fff",\n'.encode() + b'"a"\n'),
        ("EPS", lambda: _eps(side)),
        ("PCX", lambda: _patched("PCX", 8, size)),
        ("FLI", lambda: bytes(4) + b"\x11\xaf\1\0" + size + bytes(200)),
    )  # fmt: skip
    name, make = rng.choice(kinds)
    return f"{name} of {side} x {other}", make()


def _patched(kind: str, place: int, piece: bytes) -> bytes:
    content = sound(kind)
    return content[:place] + piece + content[place + len(piece) :]


def _fits(side: int) -> bytes:
    lines = (
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 2",
        f"NAXIS1  = {side}",
        f"NAXIS2  = {side}",
        "END",
    )
    return "".join(line.ljust(80) for line in lines).encode().ljust(2880) + bytes(2880)


def _eps(side: int) -> bytes:
    return (
        f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {side} {side}\n%%EndComments\n"
        "(madpipe_canary) (w) file closefile\n%%EOF\n"
    ).encode()


def _array(rng: random.Random) -> bytes:
    shape = rng.choice(((20, 20, 3), (2**40, 20, 3), (20, 20, 2**33), (-1, 2, 3), (0, 0, 3)))
    descr = rng.choice(("'|u1'", "'|O'", "'<f4'"))
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return array_file(header, bytes(1200))


def broken(rng: random.Random) -> tuple[str, str, bytes]:
    """Return what was broken, a file name's suffix, and the bytes of an image."""
    choice = rng.random()
    suffix = rng.choice(_SUFFIXES)
    if choice < 0.05:
        return "array", ".npy", any_of(rng, _array(rng), GENERAL)[1]
    if choice < 0.15:
        return (*_with_suffix(_odd(rng), suffix),)
    if choice < 0.4:
        return (*_with_suffix(_bomb(rng), suffix),)
    kind = rng.choice(_WRITTEN)
    what, content = any_of(rng, sound(kind), GENERAL)
    return f"{kind} {what}", suffix, content


def _with_suffix(result: tuple[str, bytes], suffix: str) -> tuple[str, str, bytes]:
    return result[0], suffix, result[1]


_SETTINGS = """\
[data]
source = "folder"
root = "images"
image_size_px = 16
[teacher]
arch = "resnet8"
epochs = 1
[student]
arch = "resnet8"
"""


def _prepare(shared: Path) -> None:
    onnx.save(sound_model(), str(shared / "net.onnx"))


def _break_one(rng: random.Random, folder: Path, shared: Path) -> Broken:
    images = folder / "images"
    for name in ("a", "b"):
        (images / name).mkdir(parents=True)
        for number in range(4):
            (images / name / f"{number}.png").write_bytes(written(picture(), "PNG"))
    what, suffix, content = broken(rng)
    if suffix == ".npy":
        for path in images.rglob("*.png"):
            path.unlink()
    (images / rng.choice("ab") / f"broken{suffix}").write_bytes(content)
    if rng.random() < 0.3:
        (folder / "pipeline.toml").write_text(_SETTINGS, encoding="utf-8")
        return Broken(what, rng.choice((["plan"], ["run", "teacher"])))
    (folder / "net.onnx").write_bytes((shared / "net.onnx").read_bytes())
    options = ["--onnx", "net.onnx", "--out", "engine", "--calibration", "images"]
    return Broken(
        what, ["build", *options, "--backend", "onnxruntime", "--precision", "int8"], ("engine",)
    )


IMAGES = Format("images", _prepare, _break_one)
FORMATS = (IMAGES,)
