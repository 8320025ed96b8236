"""Food-101 in its published layout."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import food101, images
from stages.data.datasets import spec_of
from tests.stages.data.trees import put

DATA = Data(source="food101", image_size_px=8)
DISHES = [f"dish_{number:03d}" for number in range(101)]


def _published(root: Path) -> Path:
    train = [f"{dish}/1" for dish in reversed(DISHES)]
    test = [f"{DISHES[5]}/2", f"{DISHES[2]}/3"]
    for part, listed in (("train", train), ("test", test)):
        put(root, [f"food-101/images/{name}.jpg" for name in listed])
        file = root / "food-101" / "meta" / f"{part}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(listed) + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("inside", ["", "food-101"])
def test_the_published_lists_say_which_part_an_image_belongs_to(
    tmp_path: Path, inside: str
) -> None:
    dataset = images.load(DATA, _published(tmp_path) / inside)
    assert dataset.train.y_N.tolist() == list(reversed(range(101)))
    assert dataset.held_out.y_N.tolist() == [5, 2]
    assert dataset.train.classes == tuple(DISHES)


def test_folders_for_each_part_are_read_too(tmp_path: Path) -> None:
    put(tmp_path, [f"{part}/{dish}/1.jpg" for part in ("train", "test") for dish in DISHES])
    (_, y_train), (_, y_held), classes, _ = food101.load(DATA, spec_of(DATA), tmp_path)
    assert y_train.tolist() == y_held.tolist() == list(range(101))
    assert classes == tuple(DISHES)


@pytest.mark.parametrize("missing", ["meta/train.txt", "images"])
def test_the_error_of_a_missing_file_says_where_it_belongs(tmp_path: Path, missing: str) -> None:
    path = _published(tmp_path) / "food-101" / missing
    path.rename(tmp_path / "moved")
    with pytest.raises(StageError, match=rf"no food-101/{missing} in .*data\.download = true"):
        food101.load(DATA, spec_of(DATA), tmp_path)


def test_a_listed_image_of_no_class_is_refused_by_its_line(tmp_path: Path) -> None:
    file = _published(tmp_path) / "food-101" / "meta" / "test.txt"
    file.write_text(f"{DISHES[0]}/2\nporridge/1\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"test\.txt:2: names no class of images/ \(porridge/1\)"):
        food101.load(DATA, spec_of(DATA), tmp_path)
