"""Images to calibrate with: what is accepted, and what is refused with a reason."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from PIL import Image

from pipeline.errors import StageError
from pipeline.settings import Data, SourceName
from stages.data.datasets import spec_of
from stages.data.files import ImageFiles
from stages.networks import card as cards
from stages.networks.card import Card
from stages.onnxgraph import calibration_images


def _model(channels: int = 1, kind: int = TensorProto.FLOAT, size: int = 8) -> ModelProto:
    shape: list[str | int] = ["n", channels, size, size]
    if kind == TensorProto.UINT8:
        shape = ["n", size, size, channels]
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, ["n", 10])
    node = helper.make_node("Identity", ["x"], ["y"])
    return helper.make_model(helper.make_graph([node], "g", [x], [y]))


def _npz(path: Path, x: np.ndarray) -> Path:
    np.savez(path, x=x)
    return path


def test_bytes_with_channels_last_and_floats_with_channels_first_are_the_same_images(
    tmp_path: Path,
) -> None:
    x_NHWC = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    x_NCHW = x_NHWC.transpose(0, 3, 1, 2).astype(np.float32) / 255
    one = calibration_images.load(_npz(tmp_path / "a.npz", x_NHWC), _model(), "here")
    other = calibration_images.load(_npz(tmp_path / "b.npz", x_NCHW), _model(), "here")
    np.testing.assert_allclose(one, other, atol=1e-7)
    assert np.asarray(one).dtype == np.float32


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
def test_a_folder_of_images_is_scaled_and_cropped_to_the_input(
    tmp_path: Path, channels: int, kind: int
) -> None:
    for number, size in enumerate([(8, 8), (20, 9), (5, 30)]):
        Image.new("RGB", size, (255, 255, 255)).save(tmp_path / f"{number}.png")
    (tmp_path / "more.gif").touch()
    notes: list[str] = []
    x_NCHW = calibration_images.load(tmp_path, _model(channels, kind), "here", notes.append)
    assert notes[0].startswith("here: 1 files with other suffixes are left out")
    assert x_NCHW.shape == (3, channels, 8, 8)
    np.testing.assert_array_equal(x_NCHW, 1.0)


@pytest.mark.parametrize(
    ("source", "size"), [("food101", 224), ("imagenet", 64), ("cifar10", 32), ("folder", 224)]
)
def test_images_of_a_folder_are_preprocessed_as_for_validation(
    tmp_path: Path, source: SourceName, size: int
) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for number, (width, height) in enumerate([(300, 231), (97, 310), (64, 64)]):
        paths.append(str(tmp_path / f"{number}.png"))
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(paths[-1])
    spec = spec_of(Data(source=source, image_size_px=size))
    validated = ImageFiles(paths, spec)[:].numpy()
    model = _model(3, size=size)
    card = Card(arch="resnet8", **msgspec.structs.asdict(spec.preprocessing()))
    helper.set_model_props(model, cards.metadata(card))
    calibrated = calibration_images.load(tmp_path, model, "here")
    images = [
        sorted(x.tolist() for x in x_NCHW)
        for x_NCHW in (np.rint(np.asarray(calibrated) * 255), validated)
    ]
    assert images[0] == images[1]


REFUSED = [
    (np.zeros((0, 8, 8, 1), np.uint8), r"here: holds no images .*\(0, 8, 8, 1\)"),
    (np.zeros((8, 8), np.uint8), r"here: holds no images"),
    (np.zeros((2, 9, 9, 1), np.uint8), r"another shape .*the network takes \(1, 8, 8\)"),
    (np.full((2, 1, 8, 8), 3.0), r"floats in \[0, 1\]"),
    (np.full((2, 1, 8, 8), np.nan), r"floats in \[0, 1\]"),
    (np.zeros((2, 1, 8, 8), np.int64), r"floats in \[0, 1\]"),
]


@pytest.mark.parametrize(("x", "message"), REFUSED)
def test_images_that_do_not_fit_are_refused(tmp_path: Path, x: np.ndarray, message: str) -> None:
    with pytest.raises(StageError, match=message):
        calibration_images.load(_npz(tmp_path / "a.npz", x), _model(), "here")


def test_files_that_hold_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(StageError, match="is no bank of images"):
        calibration_images.load(tmp_path / "a.npz", _model(), "here")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="holds no images"):
        calibration_images.load(tmp_path / "empty", _model(), "here")
    (tmp_path / "empty" / "a.png").write_bytes(b"nothing")
    with pytest.raises(StageError, match=r"1 files are no readable images .*a\.png"):
        calibration_images.load(tmp_path / "empty", _model(), "here")


def test_colour_for_a_network_of_one_channel_names_no_setting_of_a_pipeline(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "a.png")
    with pytest.raises(StageError) as caught:
        calibration_images.load(tmp_path, _model(), "--calibration")
    assert str(caught.value) == (
        "--calibration: 1 files are in colour, and the images have one channel "
        f"({tmp_path / 'a.png'}); convert them to grey"
    )


def test_a_folder_for_a_network_of_other_channels_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(StageError, match=r"1, 3 or 4 channels, .* another number \(2\)"):
        calibration_images.load(tmp_path, _model(channels=2), "here")


def test_the_first_images_are_of_every_folder_and_the_order_is_always_the_same(
    tmp_path: Path,
) -> None:
    for folder, count in (("dark", 20), ("light", 20), ("rare", 1)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            level = {"dark": 0, "light": 200, "rare": 250}[folder] + number
            Image.new("L", (8, 8), level).save(tmp_path / folder / f"{number:02}.png")
    levels, again = (
        np.rint(np.asarray(calibration_images.load(tmp_path, _model(), "here"))[:, 0, 0, 0] * 255)
        for _ in range(2)
    )
    np.testing.assert_array_equal(levels, again)
    assert {0, 200, 250} == {int(level // 50 * 50) for level in levels[:3]}
    assert 2 < (levels[3:13] < 100).sum() < 8


def test_an_array_sorted_by_class_is_drawn_from_and_a_bank_is_used_in_its_order(
    tmp_path: Path,
) -> None:
    x = np.repeat(np.arange(40, dtype=np.uint8), 64).reshape(40, 8, 8, 1)
    path = _npz(tmp_path / "x.npz", x)
    drawn, kept = (
        np.rint(np.asarray(calibration_images.load(path, _model(), place))[:, 0, 0, 0] * 255)
        for place in ("--calibration", calibration_images.BANK)
    )
    assert kept.tolist() == list(range(40))
    assert sorted(drawn) == list(range(40))
    assert 2 < (drawn[:10] < 20).sum() < 8
