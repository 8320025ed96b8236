"""Tiny-ImageNet in its published layout and with its validation part sorted."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import images, tinyimagenet
from stages.data.datasets import spec_of
from tests.stages.data.trees import put

DATA = Data(source="tiny-imagenet", image_size_px=8)
WNIDS = [f"n{number:08d}" for number in range(200)]


def _train(root: Path) -> Path:
    put(root, [f"train/{wnid}/images/{wnid}_0.JPEG" for wnid in WNIDS])
    (root / "train" / WNIDS[0] / f"{WNIDS[0]}_boxes.txt").touch()
    words = [f"{wnid}\tname {number}, other" for number, wnid in enumerate(reversed(WNIDS))]
    (root / "words.txt").write_text("\n".join(words), encoding="utf-8")
    return root


def _published(root: Path) -> Path:
    _train(root)
    put(root, ["val/images/val_0.JPEG", "val/images/val_1.JPEG"])
    lines = f"val_0.JPEG\t{WNIDS[7]}\t0\t32\t44\t62\nval_1.JPEG\t{WNIDS[3]}\t0\t0\t63\t63\n"
    (root / "val" / "val_annotations.txt").write_text(lines, encoding="utf-8")
    return root


@pytest.mark.parametrize("folder", [".", "tiny-imagenet-200"])
def test_the_published_layout_is_read_by_its_annotations(tmp_path: Path, folder: str) -> None:
    _published(tmp_path / folder)
    dataset = images.load(DATA, tmp_path)
    assert dataset.train.y_N.tolist() == list(range(200))
    assert dataset.held_out.y_N.tolist() == [7, 3]
    assert dataset.held_out.x_NCHW.shape == (2, 3, 8, 8)


def test_classes_have_their_first_word(tmp_path: Path) -> None:
    _, _, classes, _ = tinyimagenet.load(DATA, spec_of(DATA), _published(tmp_path))
    assert classes[:2] == ("name 199", "name 198")


def test_a_sorted_validation_part_gives_the_same_labels(tmp_path: Path) -> None:
    put(_train(tmp_path), [f"val/{WNIDS[7]}/val_0.JPEG", f"val/{WNIDS[3]}/images/val_1.JPEG"])
    (_, y_train), (_, y_held), _, _ = tinyimagenet.load(DATA, spec_of(DATA), tmp_path)
    assert y_train.tolist() == list(range(200))
    assert y_held.tolist() == [3, 7]


def test_without_words_the_classes_have_the_names_of_their_folders(tmp_path: Path) -> None:
    (_published(tmp_path) / "words.txt").unlink()
    assert tinyimagenet.load(DATA, spec_of(DATA), tmp_path)[2] == tuple(WNIDS)


def test_a_line_that_names_no_class_is_refused_by_its_number(tmp_path: Path) -> None:
    file = _published(tmp_path) / "val" / "val_annotations.txt"
    file.write_text(f"val_0.JPEG\t{WNIDS[7]}\nval_1.JPEG\tn99999999\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"val_annotations\.txt:2: names no class .*n99999999"):
        tinyimagenet.load(DATA, spec_of(DATA), tmp_path)


def test_the_error_of_an_empty_folder_says_what_to_unpack(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"holds no tiny-imagenet .*tiny-imagenet-200\.zip"):
        tinyimagenet.load(DATA, spec_of(DATA), tmp_path)


def test_a_part_of_the_classes_is_refused_with_both_counts(tmp_path: Path) -> None:
    put(tmp_path, [f"{part}/{wnid}/1.JPEG" for part in ("train", "val") for wnid in WNIDS[:3]])
    with pytest.raises(StageError, match="has 3 classes where tiny-imagenet has 200"):
        tinyimagenet.load(DATA, spec_of(DATA), tmp_path)
