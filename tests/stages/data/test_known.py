"""What the well-known sets share."""

from pathlib import Path

import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import known
from stages.data.specs import spec_of
from tests.stages.data.trees import put

DATA = Data(source="cifar10", image_size_px=8)


def test_what_is_absent_is_told_with_what_to_put_where() -> None:
    error = known.absent(DATA, Path("sets"), "val/")
    assert str(error).startswith("data.root: holds no cifar10 (no val/ in sets); unpack")


def test_parts_with_all_classes_are_listed(tmp_path: Path) -> None:
    names = [f"{part}/{number}/1.jpg" for part in ("train", "test") for number in range(10)]
    (_, y_train), (_, y_held), classes = known.from_parts(DATA, spec_of(DATA), put(tmp_path, names))
    assert y_train.tolist() == y_held.tolist() == list(range(10))
    assert classes == tuple("0123456789")


def test_another_number_of_classes_is_refused_with_both(tmp_path: Path) -> None:
    put(tmp_path, ["train/a/1.jpg", "test/a/1.jpg"])
    with pytest.raises(StageError, match="has 1 classes where cifar10 has 10"):
        known.from_parts(DATA, spec_of(DATA), tmp_path)
