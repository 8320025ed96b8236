"""Parts of a data set by every usual spelling, and what only looks like parts."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import folder, images, parts
from stages.data.datasets import spec_of
from stages.data.files import ImageFiles
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
        ("flowers_train", "flowers_test"),
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
    assert "data.held_out_fraction" in loaded.notes[0]


def test_a_part_inside_a_folder_of_its_own_name_is_reached(tmp_path: Path) -> None:
    _parts(tmp_path, "training_set/training_set", "test_set/test_set")
    assert images.load(DATA, tmp_path).held_out.classes == ("a", "b")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["train_a", "test_b", "other"], "all hold a, b"),
        (["cats_train", "cats_val", "dogs_train"], "the same but for the part"),
    ],
)
def test_folders_that_look_like_parts_are_refused_with_why(
    tmp_path: Path, names: list[str], why: str
) -> None:
    _parts(tmp_path, *names[:2])
    put(tmp_path, [f"{names[2]}/{i}.jpg" for i in range(2)])
    with pytest.raises(StageError, match=rf"look like parts, not classes: {why}"):
        images.load(DATA, tmp_path)


def test_words_that_all_folders_share_do_not_hide_the_parts(tmp_path: Path) -> None:
    _parts(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    put(tmp_path, ["seg_pred/seg_pred/0.jpg"])
    loaded = images.load(DATA, tmp_path)
    assert loaded.held_out.classes == ("a", "b")
    assert loaded.notes[1].endswith("are left out (seg_pred)")


@pytest.mark.parametrize("loose", ["test/0.jpg", "test/unknown/0.jpg"])
def test_a_test_part_without_classes_holds_nothing_out(tmp_path: Path, loose: str) -> None:
    put(_parts(tmp_path, "train", count=10), [loose])
    loaded = images.load(DATA, tmp_path)
    assert (len(loaded.train), len(loaded.held_out)) == (14, 6)
    assert loaded.notes[0] == "beside train/, folders of data.root are left out (test)"


def test_each_class_may_have_its_own_parts(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{p}/{i}.jpg" for c in "ab" for p in ("train", "val") for i in range(3)])
    held_out = folder.load(DATA, spec_of(DATA), tmp_path).held_out
    assert isinstance(held_out.x, ImageFiles)
    assert [path.split("/")[-3:-1] for path in held_out.x.paths[2:4]] == [
        ["a", "val"],
        ["b", "val"],
    ]


def test_labels_beside_images_are_no_class(tmp_path: Path) -> None:
    _parts(tmp_path, "images/train", "images/val")
    for part in ("train", "val"):
        (tmp_path / "labels" / part).mkdir(parents=True)
    with pytest.raises(StageError, match=r"labels/train.*set data\.root to .*/images where"):
        images.load(DATA, tmp_path)


def test_what_may_be_parts_in_another_language_is_noted(tmp_path: Path) -> None:
    loaded = images.load(DATA, _parts(tmp_path, "treino", "teste"))
    assert loaded.held_out.classes == ("teste", "treino")
    assert "where teste, treino are no classes, name the parts train and val" in loaded.notes[0]


def test_classes_with_sub_folders_of_the_same_names_are_classes(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{year}/{i}.jpg" for c in "ab" for year in (1, 2) for i in range(2)])
    assert images.load(DATA, tmp_path).train.classes == ("a", "b")
    assert folder.seen_classes(DATA, tmp_path) == ("a", "b")
