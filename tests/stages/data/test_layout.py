"""Where images lie."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from stages.data import layout


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_class_folders_are_sorted_and_files_are_none(tmp_path: Path) -> None:
    _touch(tmp_path, "10/a.jpg", "2/a.jpg", "cat/a.jpg", "words.txt")
    assert layout.class_folders(tmp_path) == ["10", "2", "cat"]


def test_images_are_found_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    _touch(tmp_path, "b.JPEG", "a/c.png", "boxes.txt", "d.xml")
    found = layout.image_files(tmp_path)
    assert found == [str(tmp_path / "a/c.png"), str(tmp_path / "b.JPEG")]


def test_a_part_without_images_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "train/a/notes.txt", "val/a/1.png")
    with pytest.raises(StageError, match=r"holds no images \(.*train\)"):
        layout.parts(tmp_path)


def test_without_a_training_part_the_classes_are_those_of_the_other(tmp_path: Path) -> None:
    _touch(tmp_path, "val/b/1.png", "val/a/1.png")
    train, held_out, classes = layout.parts(tmp_path)
    assert train == ([], [])
    assert held_out[1] == [0, 1]
    assert classes == ["a", "b"]


def test_without_a_validation_part_there_is_no_split(tmp_path: Path) -> None:
    _touch(tmp_path, "train/a/1.png")
    assert not layout.has_parts(tmp_path)
    with pytest.raises(StageError, match=r"no validation part .*add a folder val/"):
        layout.parts(tmp_path)
