"""Places365-Standard in its published layout."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import images, places365
from stages.data.datasets import spec_of
from tests.stages.data.trees import put

DATA = Data(source="places365", image_size_px=8)
SCENES = [f"/s/scene_{number:03d}" for number in range(364)] + ["/a/apartment/outdoor"]


def _published(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    lines = [f"{scene} {number}" for number, scene in enumerate(SCENES)]
    (root / "categories_places365.txt").write_text("\n".join(lines), encoding="utf-8")
    put(root, ["data_256_standard/s/scene_003/00000001.jpg", "val_256/Places365_val_1.jpg"])
    train = root / "places365_train_standard.txt"
    train.write_text("/s/scene_003/00000001.jpg 3\n", encoding="utf-8")
    (root / "places365_val.txt").write_text("Places365_val_1.jpg 364\n", encoding="utf-8")
    return root


def test_labels_and_names_are_those_of_the_published_lists(tmp_path: Path) -> None:
    dataset = images.load(DATA, _published(tmp_path))
    assert dataset.train.y_N.tolist() == [3]
    assert dataset.held_out.y_N.tolist() == [364]
    assert (dataset.train.classes[3], dataset.train.classes[364]) == (
        "scene_003",
        "apartment/outdoor",
    )


def test_without_the_training_part_there_is_only_validation(tmp_path: Path) -> None:
    (_published(tmp_path) / "places365_train_standard.txt").unlink()
    (_, y_train), (_, y_held), _, _ = places365.load(DATA, spec_of(DATA), tmp_path)
    assert (len(y_train), len(y_held)) == (0, 1)


@pytest.mark.parametrize("missing", ["categories_places365.txt", "places365_val.txt", "val_256"])
def test_the_error_of_a_missing_file_says_where_it_belongs(tmp_path: Path, missing: str) -> None:
    (_published(tmp_path / "set") / missing).rename(tmp_path / "moved")
    with pytest.raises(StageError, match=rf"no {missing} in .*data_256_standard/"):
        places365.load(DATA, spec_of(DATA), tmp_path / "set")


@pytest.mark.parametrize("line", ["Places365_val_1.jpg", "Places365_val_1.jpg x", "5", "a.jpg -1"])
def test_a_line_without_a_label_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    (_published(tmp_path) / "places365_val.txt").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"places365_val\.txt:1: is no name with a number"):
        places365.load(DATA, spec_of(DATA), tmp_path)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    (_published(tmp_path) / "places365_val.txt").write_text("a.jpg 365\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"names no class \(365\)"):
        places365.load(DATA, spec_of(DATA), tmp_path)
