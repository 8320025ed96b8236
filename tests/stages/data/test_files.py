"""Images that stay in their files until they are asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import files as data_files
from stages.data.datasets import Spec, spec_of
from stages.data.files import ImageFiles
from stages.data.pixels import scale_and_crop

SPEC = spec_of(Data(source="folder", image_size_px=16))


def _files(
    root: Path, count: int = 5, spec: Spec = SPEC, size: tuple[int, int] = (20, 16)
) -> ImageFiles:
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        x_HWC = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        x_HWC[..., 0] = number
        paths.append(str(root / f"{number}.png"))
        Image.fromarray(x_HWC).save(paths[-1])
    return ImageFiles(paths, spec)


@pytest.mark.parametrize("indices", [slice(1, 4), torch.tensor([1, 2, 3])])
def test_images_come_in_the_order_they_are_asked_for(
    tmp_path: Path, indices: slice | torch.Tensor
) -> None:
    x_BCHW = _files(tmp_path)[indices]
    assert x_BCHW.shape == (3, 3, 16, 16)
    assert x_BCHW.dtype == torch.uint8
    assert x_BCHW[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_the_size_is_known_without_reading(tmp_path: Path) -> None:
    files = ImageFiles([str(tmp_path / "none.png")] * 7, SPEC)
    assert files.shape == (7, 3, 16, 16)
    assert files.size_bytes == 7 * 3 * 16 * 16


def test_a_choice_of_files_keeps_their_order(tmp_path: Path) -> None:
    chosen = _files(tmp_path).select(np.array([0, 4]))
    assert chosen[:][:, 0, 0, 0].tolist() == [0, 4]


@pytest.mark.parametrize("size", [(40, 33), (33, 40), (57, 91), (16, 16), (18, 18), (8, 11)])
@pytest.mark.parametrize("ratio", [1.0, 256 / 224])
def test_an_image_is_scaled_and_cut_as_torchvision_does_it_for_its_networks(
    tmp_path: Path, size: tuple[int, int], ratio: float
) -> None:
    spec = replace(SPEC, resize_ratio=ratio)
    files = _files(tmp_path, 1, spec, size)
    with Image.open(files.paths[0]) as image:
        scaled = functional.resize(image, [int(16 * ratio)])
        wanted = functional.pil_to_tensor(functional.center_crop(scaled, [16, 16]))
    assert torch.equal(files[:][0], wanted)


@pytest.mark.parametrize("size", [(40, 33), (33, 40), (7, 91), (16, 8), (200, 9)])
@pytest.mark.parametrize("resize_px", [None, 9])
def test_a_crop_that_is_no_square_is_filled_by_the_image(
    size: tuple[int, int], resize_px: int | None
) -> None:
    cropped = scale_and_crop(Image.new("L", size, 255), (8, 16), resize_px, "bilinear")
    assert cropped.size == (16, 8)
    assert cropped.getextrema() == (255, 255)


def test_unreadable_files_are_counted_and_named(tmp_path: Path) -> None:
    files = _files(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "3.png").unlink()
    assert files[2:3].shape[0] == 1
    with pytest.raises(StageError, match=r"2 files are no readable images \(.*1\.png, .*3\.png\)"):
        files[:]


def test_reading_many_files_reports_how_many_are_read_and_can_be_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "_PROGRESS_EVERY_S", -1.0)
    files = _files(tmp_path, 3)
    reported: list[tuple[int, int]] = []
    read_NCHW = files.read_all(lambda done, total: reported.append((done, total)))
    assert torch.equal(read_NCHW, files[:])
    assert reported == [(1, 3), (2, 3), (3, 3)]

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.read_all(stop)


def test_pictures_have_no_five_channels(tmp_path: Path) -> None:
    spec = spec_of(Data(source="folder", image_size_px=16, mean=(0.5,) * 5, std=(0.5,) * 5))
    wrong = (
        r"^data\.mean: images in files have 1, 3 or 4 channels \(5 numbers\); save them as \.npy"
    )
    with pytest.raises(StageError, match=wrong):
        _files(tmp_path, spec=spec)[:]


def test_arrays_are_scaled_and_cut_like_pictures_to_sides_that_differ(tmp_path: Path) -> None:
    size = replace(SPEC, image_size_px=(8, 24), resize_px=9)
    x_BCHW = _files(tmp_path, count=2, spec=size, size=(40, 30))[:]
    assert x_BCHW.shape == (2, 3, 8, 24)
    for number in range(2):
        with Image.open(tmp_path / f"{number}.png") as image:
            np.save(tmp_path / f"{number}.npy", np.asarray(image))
    arrays = ImageFiles([str(tmp_path / f"{number}.npy") for number in range(2)], size)
    assert torch.equal(arrays[:], x_BCHW)
