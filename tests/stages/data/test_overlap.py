"""Unlabelled images that are labelled ones too are refused, by their bytes and by their pixels."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import images as datasets
from stages.data import overlap, unlabelled
from tests.stages.tiny import card
from tests.stages.unlabelled_folder import moved_digits, unlabelled_folder

FOLDER = Data(source="folder", root=".", image_size_px=8, mean=(0.3,), std=(0.4,))


def _labelled(root: Path) -> Path:
    """Write a set with train/ and val/ whose images are all different, and none of the others."""
    for number, levels_HW in enumerate(moved_digits(24)):
        folder = root / ("train", "val")[number % 2] / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels_HW.T.copy()).save(folder / f"{number}.png")
    return root


def test_sets_apart_pass(tmp_path: Path) -> None:
    root, folder = _labelled(tmp_path / "data"), unlabelled_folder(tmp_path / "images", 20)
    overlap.check(folder, FOLDER, root)


@pytest.mark.parametrize(
    ("part", "what"), [("val", "held out for validation"), ("train", "of the training set")]
)
def test_a_copy_of_a_labelled_image_is_named(tmp_path: Path, part: str, what: str) -> None:
    root, folder = _labelled(tmp_path / "data"), unlabelled_folder(tmp_path / "images", 20)
    original = next((root / part).rglob("*.png"))
    shutil.copy(original, folder / "a/other name.png")
    with pytest.raises(StageError) as caught:
        overlap.check(folder, FOLDER, root)
    assert caught.value.place == "distill.images"
    assert f"1 of its images are {what}" in caught.value.wrong
    assert str(folder / "a/other name.png") in caught.value.wrong
    assert str(original) in caught.value.wrong


def test_files_of_one_size_and_end_are_read_whole(tmp_path: Path) -> None:
    end = b"x" * 5000
    for name, begin in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(begin + end)
    paths = [str(tmp_path / name) for name in "abc"]
    assert overlap.same_bytes(paths[:1], paths[1:2]) == []
    assert overlap.same_bytes(paths[:1], paths[1:]) == [f"{paths[0]} is {paths[2]}"]


@pytest.mark.parametrize("place", [".", "inside", "linked"])
def test_a_folder_in_or_around_the_labelled_one_is_refused(tmp_path: Path, place: str) -> None:
    root = _labelled(tmp_path / "around/data")
    folder = root / "val" if place == "inside" else root.parent
    if place == "linked":
        folder = tmp_path / "link"
        folder.symlink_to(root / "train")
    with pytest.raises(StageError, match="inside it or around it"):
        overlap.check(folder, FOLDER, root)


def test_images_of_a_set_without_files_are_compared_by_their_pixels(tmp_path: Path) -> None:
    folder = unlabelled_folder(tmp_path, 20)
    data = Data(source="digits")
    overlap.check(folder, data, Path())
    held_out = datasets.load(data, None).held_out
    x_HW = held_out.batch(slice(0, 1), held_out.y_N.device)[0, 0] * 255
    Image.fromarray(x_HW.round().byte().numpy()).save(folder / "one.bmp")
    with pytest.raises(StageError, match=r"1 of its images are held out .*one\.bmp"):
        overlap.check(folder, data, Path())


def test_another_form_of_file_has_the_same_pixels(tmp_path: Path) -> None:
    root, folder = _labelled(tmp_path / "data"), unlabelled_folder(tmp_path / "images", 20)
    held_out = datasets.load(FOLDER, root).held_out
    used = unlabelled.load(folder, card(), weight=1.0, fewest=1).list
    overlap.check_pixels(held_out, used)
    with Image.open(next((root / "val").rglob("*.png"))) as image:
        image.save(folder / "copy.bmp")
    overlap.check(folder, FOLDER, root)
    used = unlabelled.load(folder, card(), weight=1.0, fewest=1).list
    with pytest.raises(StageError, match=r"1 of its images are held out .*pixels \(copy\.bmp\)"):
        overlap.check_pixels(held_out, used)
