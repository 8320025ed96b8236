"""Parts of a data set by every usual spelling, and what only looks like parts."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import folder, images, parts
from tests.stages.data.trees import put

DATA = Data(source="folder", image_size_px=8)


def _parts(root: Path, *names: str, count: int = 2) -> Path:
    return put(root, [f"{n}/{c}/{i}.jpg" for n in names for c in "ab" for i in range(count)])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("train2017", "train"),
        ("training_set", "train"),
        ("trainset", "train"),
        ("valid", "val"),
        ("val2", "val"),
        ("dev", "val"),
        ("Validation images", "val"),
        ("test_set", "test"),
        ("Testing", "test"),
        ("trains", None),
        ("cats_train", None),
        ("data", None),
        ("valley", None),
    ],
)
def test_a_part_is_known_by_its_name(name: str, kind: str | None) -> None:
    assert parts.kind_of(name) == kind


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid"),
        ("Train", "Test"),
        ("Training", "Testing"),
        ("train", "dev"),
        ("training_set", "test_set"),
    ],
)
def test_parts_are_no_classes_and_an_unusual_spelling_is_noted(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    loaded = images.load(DATA, _parts(tmp_path, *names))
    assert loaded.train.classes == ("a", "b")
    assert (len(loaded.train), len(loaded.held_out)) == (4, 4)
    assert loaded.notes == (f"{names[0]}/ is the training part, {names[1]}/ is held out",)


def test_val_comes_before_test_which_is_noted_as_left_out(tmp_path: Path) -> None:
    _parts(tmp_path, "test", "train")
    _parts(tmp_path, "val", count=3)
    loaded = images.load(DATA, tmp_path)
    assert len(loaded.held_out) == 6
    assert loaded.notes == ("beside train/ and val/, folders of data.root are left out (test)",)


def test_a_training_part_alone_is_split(tmp_path: Path) -> None:
    loaded = images.load(DATA, _parts(tmp_path, "train", count=10))
    assert (len(loaded.train), len(loaded.held_out)) == (14, 6)
    assert "one is split off" in loaded.notes[0]


def test_a_part_inside_a_folder_of_its_own_name_is_reached(tmp_path: Path) -> None:
    _parts(tmp_path, "training_set/training_set", "test_set/test_set")
    assert images.load(DATA, tmp_path).held_out.classes == ("a", "b")


def test_folders_that_look_like_parts_are_refused_with_what_they_share(tmp_path: Path) -> None:
    _parts(tmp_path, "flowers_train", "flowers_test")
    with pytest.raises(StageError, match=r"flowers_test, flowers_train look like parts.*a, b"):
        images.load(DATA, tmp_path)


def test_classes_with_sub_folders_of_the_same_names_are_classes(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{year}/{i}.jpg" for c in "ab" for year in (1, 2) for i in range(2)])
    assert images.load(DATA, tmp_path).train.classes == ("a", "b")
    assert folder.seen_classes(DATA, tmp_path) == ("a", "b")
