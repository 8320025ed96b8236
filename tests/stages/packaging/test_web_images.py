"""The page reads images as validation does: its modules in node, against Pillow to the bit."""

import base64
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.data.decode import UndecidedImage, decode
from stages.data.pixels import prepared
from stages.packaging import contents

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node on PATH; install Node.js 18 or newer")
WEB = Path(contents.__file__).parent / "web"
READ = """
import { readFileSync } from "node:fs";
import { prepared } from "./images.js";
for (const { path, manifest } of JSON.parse(readFileSync("cases.json"))) {
  try {
    const { width, height, bands, data } = await prepared(new Blob([readFileSync(path)]), manifest);
    const pixels = Buffer.from(data).toString("base64");
    console.log(JSON.stringify({ shape: [height, width, bands], pixels }));
  } catch (error) {
    console.log(JSON.stringify({ fault: `${error.constructor.name}: ${error.message}` }));
  }
}
"""


class Case(NamedTuple):
    """A file, and what the network takes."""

    path: Path
    channels: int
    size_HW: tuple[int, int]
    resize_px: int | None = None
    interpolation: str = "bilinear"

    @property
    def manifest(self) -> Mapping[str, Any]:
        takes = {"resize_px": self.resize_px, "interpolation": self.interpolation}
        return {
            "signature": {"shape": (self.channels, *self.size_HW)},
            "preprocessing": {name: value for name, value in takes.items() if value is not None},
        }

    def validated(self) -> NDArray[np.uint8]:
        image = decode(str(self.path), self.channels, "convert it")
        return prepared(image, self.channels, self.size_HW, self.resize_px, self.interpolation)


def in_node(folder: Path, cases: list[Case]) -> list[NDArray[np.uint8] | str]:
    """Return for each case the pixels that the page's modules read, or what is wrong."""
    assert NODE is not None
    for path in WEB.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "read.js").write_text(READ, encoding="utf-8")
    listed = [{"path": str(case.path), "manifest": case.manifest} for case in cases]
    (folder / "cases.json").write_text(json.dumps(listed), encoding="utf-8")
    done = subprocess.run([NODE, "read.js"], cwd=folder, capture_output=True, text=True, check=True)
    results: list[NDArray[np.uint8] | str] = []
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        if "fault" in answer:
            results.append(answer["fault"])
            continue
        pixels = np.frombuffer(base64.b64decode(answer["pixels"]), dtype=np.uint8)
        results.append(pixels.reshape(answer["shape"]))
    assert len(results) == len(cases)
    return results


def assert_as_validated(folder: Path, cases: list[Case]) -> None:
    for case, pixels in zip(cases, in_node(folder, cases), strict=True):
        assert not isinstance(pixels, str), f"{case}: {pixels}"
        np.testing.assert_array_equal(pixels, case.validated(), err_msg=str(case))


def random_pixels(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_images_are_scaled_and_cut_as_pillow_does_to_the_bit(tmp_path: Path) -> None:
    cases = []
    sizes = [(131, 200), (33, 32), (64, 64), (7, 5), (480, 641), (20, 900), (3, 120), (101, 50)]
    for number, (height, width) in enumerate(sizes):
        for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
            path = tmp_path / f"{number}-{mode}.png"
            pixels = random_pixels(height, width, channels, seed=number).squeeze()
            Image.fromarray(pixels, mode).save(path)
            for interpolation in ("bilinear", "bicubic"):
                cases += [
                    Case(path, channels, (64, 64), None, interpolation),
                    Case(path, channels, (32, 32), 37, interpolation),
                    Case(path, channels, (24, 33), 30, interpolation),
                ]
    assert_as_validated(tmp_path, cases)


def test_smooth_pictures_and_hard_edges_are_scaled_alike(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    edge = np.zeros((300, 400, 3), dtype=np.uint8)
    edge[:, 200:] = 255
    cases = []
    for name, pixels in (("ramp", ramp), ("edge", edge)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        cases += [
            Case(tmp_path / f"{name}.png", 3, (224, 224), 256, interpolation)
            for interpolation in ("bilinear", "bicubic")
        ]
    assert_as_validated(tmp_path, cases)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(
    kind: int, depth: int, samples_HWC: NDArray[Any], extra: bytes = b"", *, adam7: bool
) -> bytes:
    """Return a PNG file, each row with another filter; Pillow writes no interlaced ones."""
    height, width, _ = samples_HWC.shape
    passes = [(0, 0, 1, 1)]
    if adam7:
        passes = [
            (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
            (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
        ]  # fmt: skip
    raw = b""
    for x, y, step_x, step_y in passes:
        part = samples_HWC[y::step_y, x::step_x]
        if part.size:
            raw += filtered(part, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(adam7))
    content = zlib.compress(raw)
    middle = len(content) // 2
    parts = (chunk(b"IDAT", content[:middle]), chunk(b"IDAT", content[middle:]))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + extra + b"".join(parts) + chunk(b"IEND", b"")


def filtered(part_HWC: NDArray[Any], depth: int) -> bytes:
    height, width, bands = part_HWC.shape
    flat = part_HWC.reshape(height, width * bands)
    if depth == 16:
        lines = flat.astype(">u2").view(np.uint8).reshape(height, -1)
    elif depth == 8:
        lines = flat.astype(np.uint8)
    else:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        lines = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    distance = max(1, bands * depth // 8)
    left = np.zeros_like(lines)
    left[:, distance:] = lines[:, :-distance]
    above = np.vstack([np.zeros_like(lines[:1]), lines[:-1]])
    corner = np.zeros_like(lines)
    corner[:, distance:] = above[:, :-distance]
    a, b, c = (array.astype(np.int64) for array in (left, above, corner))
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    predicted = (np.zeros_like(a), a, b, (a + b) // 2, paeth)
    rows = [
        bytes([y % 5]) + (lines[y] - predicted[y % 5][y]).astype(np.uint8).tobytes()
        for y in range(height)
    ]
    return b"".join(rows)


BANDS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
KINDS = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # Pillow's
@pytest.mark.parametrize("adam7", [False, True])
def test_every_kind_of_png_gives_the_samples_that_validation_sees(
    tmp_path: Path,
    *,
    adam7: bool,
) -> None:
    cases = []
    rng = np.random.default_rng(3)
    for kind, depth in KINDS:
        samples = rng.integers(0, 1 << depth, (13, 19, BANDS[kind]))
        palette = random_pixels(1 << depth, 3) if kind == 3 else random_pixels(0, 3)
        grey = np.repeat(palette[:, :1], 3, axis=1)
        for name, colours in (("colour", palette), ("grey", grey)):
            extra = chunk(b"PLTE", colours.tobytes()) if kind == 3 else b""
            alphas = [b""]
            if kind == 3:
                alphas.append(chunk(b"tRNS", bytes(range(100, 100 + (1 << depth) // 2))))
            for alpha in alphas:
                path = tmp_path / f"{kind}-{depth}-{name}-{len(alpha)}.png"
                path.write_bytes(png(kind, depth, samples, extra + alpha, adam7=adam7))
                cases += [Case(path, 3, (13, 19))]
                if kind in (0, 4) or (kind == 3 and name == "grey"):
                    cases += [Case(path, 1, (13, 19))]
                if kind in (4, 6) or alpha:
                    cases += [Case(path, 4, (13, 19))]
    assert_as_validated(tmp_path, cases)


def test_one_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    samples = random_pixels(6, 7, 3)
    key = struct.pack(">HHH", *map(int, samples[2, 3]))
    (tmp_path / "a.png").write_bytes(png(2, 8, samples, chunk(b"tRNS", key), adam7=False))
    grey_key = struct.pack(">H", int(samples[1, 1, 0]))
    (tmp_path / "b.png").write_bytes(
        png(0, 8, samples[..., :1], chunk(b"tRNS", grey_key), adam7=False)
    )
    cases = [Case(tmp_path / name, 4, (6, 7)) for name in ("a.png", "b.png")]
    assert cases[0].validated()[2, 3, 3] == 0
    assert_as_validated(tmp_path, cases)


def test_colours_that_are_nearly_grey_become_grey_as_pillow_makes_them(tmp_path: Path) -> None:
    grey = random_pixels(9, 9, 1).astype(np.int64)
    nearly = (grey + np.random.default_rng(1).integers(-16, 17, (9, 9, 3))).clip(0, 255)
    Image.fromarray(nearly.astype(np.uint8)).save(tmp_path / "nearly.png")
    assert_as_validated(tmp_path, [Case(tmp_path / "nearly.png", 1, (9, 9))])


def test_arrays_of_other_channels_are_read_and_scaled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", random_pixels(20, 31, 5))
    assert_as_validated(tmp_path, [Case(tmp_path / "a.npy", 5, (12, 12), 14, "bicubic")])


def test_what_validation_refuses_the_page_refuses_with_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(random_pixels(9, 9, 3)).save(tmp_path / "colour.png")
    whole = (tmp_path / "colour.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:120])
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = whole[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    np.save(tmp_path / "other.npy", random_pixels(9, 9, 2))
    np.save(tmp_path / "floats.npy", np.zeros((9, 9, 5)))
    refused = {
        Case(tmp_path / "colour.png", 1, (9, 9)): "is in colour",
        Case(tmp_path / "colour.png", 4, (9, 9)): "has no transparency",
        Case(tmp_path / "colour.png", 5, (9, 9)): "has no 5 channels",
        Case(tmp_path / "cut.png", 3, (9, 9)): "is no readable image",
        Case(tmp_path / "bomb.png", 3, (9, 9)): "has more than 178956970 pixels",
        Case(tmp_path / "other.npy", 5, (9, 9)): "is no array",
        Case(tmp_path / "floats.npy", 5, (9, 9)): "is no array",
    }
    for case in refused:
        with pytest.raises(UndecidedImage):
            case.validated()
    for wrong, because in zip(in_node(tmp_path, list(refused)), refused.values(), strict=True):
        assert isinstance(wrong, str)
        assert wrong.startswith(f"ImageFault: {because}")
        assert "; " in wrong
