"""Files of every kind as 8 bits, grey or colour, and those of which nobody knows how."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StageError
from pipeline.preprocessing import Preprocessing
from stages.data import decode
from stages.data.files import read_images

LEVELS_HW = np.array([[0, 257, 32896, 65535]] * 4, np.uint16)


def _read(path: Path, channels: int = 3, size_px: int = 4) -> np.ndarray:
    preprocessing = Preprocessing(
        channels=channels, image_size_px=size_px, mean=(), std=(), classes=()
    )
    x_NHWC = read_images([str(path)], preprocessing, place="here")
    return np.asarray(x_NHWC[0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(
    tmp_path: Path, channels: int, name: str
) -> None:
    if name == "x.pgm":
        (tmp_path / name).write_bytes(b"P5 4 4 65535\n" + LEVELS_HW.astype(">u2").tobytes())
    else:
        Image.fromarray(LEVELS_HW).save(tmp_path / name)
    x_HWC = _read(tmp_path / name, channels)
    assert x_HWC[0].tolist() == [[level] * channels for level in (0, 1, 128, 255)]


def test_twelve_bits_in_a_tiff_have_their_own_white(tmp_path: Path) -> None:
    # Three bytes hold two samples of 12 bits.
    strip = bytes([0x00, 0x0F, 0xFF] * 8)
    entries = [(256, 4), (257, 4), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4)]
    entries.append((279, len(strip)))
    head = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    fields = b"".join(
        tag.to_bytes(2, "little")
        + (3).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, value in entries
    )
    directory = len(entries).to_bytes(2, "little") + fields + bytes(4)
    (tmp_path / "x.tif").write_bytes(head + strip + directory)
    assert _read(tmp_path / "x.tif", 1)[0, :, 0].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize(
    ("x_HW", "wrong"),
    [
        (np.ones((4, 4), np.float32), "floating-point samples"),
        (np.ones((4, 4), np.int32), "samples of 32 bits"),
    ],
)
def test_samples_without_a_known_range_are_refused(
    tmp_path: Path, x_HW: np.ndarray, wrong: str
) -> None:
    Image.fromarray(x_HW).save(tmp_path / "x.tif")
    with pytest.raises(StageError, match=rf"1 files have .*{wrong}.*x\.tif\); convert them"):
        _read(tmp_path / "x.tif")


def _palette(path: Path, x: Image.Image) -> None:
    x.quantize(8).save(path, transparency=0)


def _rotated(path: Path, x: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    x.save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("alpha.png", lambda path, x: x.convert("RGBA").save(path)),
        ("grey-alpha.png", lambda path, x: x.convert("LA").save(path)),
        ("palette.png", _palette),
        ("cmyk.jpg", lambda path, x: x.convert("CMYK").save(path)),
        ("rotated.jpg", _rotated),
        ("two-levels.png", lambda path, x: x.convert("1").save(path)),
        ("frames.webp", lambda path, x: x.save(path, save_all=True, append_images=[x])),
        ("jpeg.png", lambda path, x: x.save(path, format="JPEG")),
    ],
)
def test_what_torchvision_reads_rightly_is_read_as_it_does(
    tmp_path: Path, name: str, save: object
) -> None:
    x_HWC = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    assert callable(save)
    save(tmp_path / name, Image.fromarray(x_HWC))
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(_read(tmp_path / name), np.asarray(image.convert("RGB")))


def test_a_warning_of_pillow_stays_off_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("RGB", (4, 4)).save(tmp_path / "large.png")
    _read(tmp_path / "large.png")
    assert not list(recwarn)
    Image.new("RGB", (5, 5)).save(tmp_path / "larger.png")
    with pytest.raises(StageError, match=r"more than 20 pixels \(.*larger\.png\); scale"):
        _read(tmp_path / "larger.png")


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1)])
def test_of_a_very_long_image_only_the_middle_is_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    long = np.zeros((size[1], size[0], 3), np.uint8)
    long[size[1] // 2 :, size[0] // 2 :] = 200
    Image.fromarray(long).save(tmp_path / "x.png")
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def recorded(image: Image.Image, size: tuple[int, int], *rest: object, **how: object) -> object:
        sizes.append(size)
        return resize(image, size, *rest, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", recorded)
    x_HWC = _read(tmp_path / "x.png", size_px=224)
    assert sizes == [(224, 224)]
    middle = x_HWC[:, 0] if size[0] == 1 else x_HWC[0]
    assert middle[0, 0] == 0
    assert middle[-1, 0] == 200


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
def test_arrays_have_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    x_HWC = np.random.default_rng(0).integers(0, 256, (4, 4, channels), np.uint8)
    np.save(tmp_path / "x.npy", x_HWC)
    np.testing.assert_array_equal(_read(tmp_path / "x.npy", channels), x_HWC)
    scaled_HWC = _read(tmp_path / "x.npy", channels, 8)
    for channel in range(channels):
        Image.fromarray(np.ascontiguousarray(x_HWC[..., channel])).save(tmp_path / "x.png")
        alone_HWC = _read(tmp_path / "x.png", 1, 8)
        np.testing.assert_array_equal(scaled_HWC[..., channel], alone_HWC[..., 0])


@pytest.mark.parametrize(
    ("array", "wrong"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"are arrays of shape \(4, 4, 3\)"),
        (np.zeros((0, 4, 5), np.uint8), r"are arrays of shape \(0, 4, 5\)"),
        (np.zeros((4, 4, 5), np.float32), "are no arrays of uint8"),
        (np.zeros((4, 4), np.uint8), "are no arrays of uint8"),
        (np.array([None, {}], object), "are no readable arrays"),
    ],
)
def test_other_arrays_are_refused_and_never_unpickled(
    tmp_path: Path, array: np.ndarray, wrong: str
) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(StageError, match=rf"{wrong}.*uint8 of shape \(height, width, 5\)"):
        _read(tmp_path / "x.npy", 5)


def test_four_channels_are_a_picture_with_its_transparency(tmp_path: Path) -> None:
    x_HWC = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
    Image.fromarray(x_HWC).save(tmp_path / "x.png")
    np.testing.assert_array_equal(_read(tmp_path / "x.png", 4), x_HWC)
    Image.fromarray(np.ascontiguousarray(x_HWC[..., :3])).save(tmp_path / "plain.png")
    with pytest.raises(StageError, match=r"^here: 1 files have no transparency"):
        _read(tmp_path / "plain.png", 4)


def test_a_picture_does_not_have_five_channels(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(StageError, match=r"which do not have 5 channels.*\(height, width, 5\)"):
        _read(tmp_path / "x.png", 5)


@pytest.mark.parametrize("header", ["(" * 5000, "{" * 3000, "", "{'descr': 7}", "\x00"])
def test_an_array_of_an_odd_header_is_refused(tmp_path: Path, header: str) -> None:
    size = len(header).to_bytes(2, "little")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + size + header.encode() + bytes(100))
    with pytest.raises(StageError, match=r"^here: 1 files are no readable arrays"):
        _read(tmp_path / "x.npy", 3)


@pytest.mark.parametrize("is_coloured", [True, False])
def test_colour_is_seen_anywhere_in_a_picture_of_several_strips(
    tmp_path: Path, *, is_coloured: bool
) -> None:
    image = Image.new("RGB", (2000, 1500), (90, 90, 90))
    image.putpixel((1999, 1499), (200, 90, 90) if is_coloured else (91, 90, 90))
    image.save(tmp_path / "x.png")
    if is_coloured:
        with pytest.raises(StageError, match="are in colour"):
            _read(tmp_path / "x.png", 1)
    else:
        _read(tmp_path / "x.png", 1)


def test_all_strips_of_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    levels_HW = np.full((1500, 2000), 65_535, np.uint16)
    Image.fromarray(levels_HW).save(tmp_path / "x.png")
    image = decode.decode(str(tmp_path / "x.png"), 1, "convert it")
    assert np.asarray(image).min() == 255


def test_an_image_on_which_its_reader_fails_is_no_image(tmp_path: Path) -> None:
    # A QOI file whose bytes end at once: the reader looks behind their end.
    (tmp_path / "x.png").write_bytes(b"qoif" + bytes([0, 0, 0, 9, 0, 0, 0, 9, 3, 0]))
    with pytest.raises(StageError, match=r"^here: 1 files are no readable images"):
        _read(tmp_path / "x.png", 3)


def test_postscript_in_a_file_of_pictures_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, program, ran = tmp_path / "image.png", tmp_path / "gs", tmp_path / "ran"
    Image.new("RGB", (4, 4)).save(image, "EPS")
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexec false\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(decode.UndecidedImage, match="no readable images"):
        decode.decode(str(image), 3, "")
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"])
def test_a_picture_is_read_whatever_its_name_ends_in(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (16, 16), (200, 40, 40)).save(tmp_path / "image.png", kind)
    picture = decode.decode(str(tmp_path / "image.png"), 3, "")
    assert isinstance(picture, Image.Image)
    assert picture.getpixel((8, 8)) == pytest.approx((200, 40, 40), abs=8)
