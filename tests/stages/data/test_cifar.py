"""CIFAR from files of torchvision's own format, written here with a few images.

torchvision checks its files against known digests, so a few images are not the data set; what
is tested is that files that are not the real ones are refused and never downloaded.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import cifar, images
from stages.data.datasets import spec_of
from tests.stages.data.trees import put


@pytest.mark.parametrize(
    ("source", "base"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")]
)
def test_the_error_of_missing_files_says_where_to_put_them(
    tmp_path: Path, source: str, base: str
) -> None:
    data = Data(source=source)  # type: ignore[arg-type]
    with pytest.raises(StageError, match=rf"data\.root: holds no {source} .*; unpack .*{base}/"):
        cifar.load(data, spec_of(data), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_unpacked_folder_itself_may_be_named(tmp_path: Path) -> None:
    data = Data(source="cifar10")
    with pytest.raises(StageError, match=rf"torchvision can read \({tmp_path}\)"):
        cifar.load(data, spec_of(data), tmp_path / "cifar-10-batches-py")


def test_files_with_other_bytes_than_the_data_set_has_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    part = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(part))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    data = Data(source="cifar10")
    with pytest.raises(StageError, match="holds no cifar10 that torchvision can read"):
        cifar.load(data, spec_of(data), tmp_path)


def test_a_folder_for_each_part_and_class_is_read_in_the_order_of_the_names(
    tmp_path: Path,
) -> None:
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    put(tmp_path, [f"{part}/{name}/0000.jpg" for part in ("train", "test") for name in names])
    dataset = images.load(Data(source="cifar10"), tmp_path)
    assert dataset.train.classes == tuple(names)
    assert dataset.held_out.y_N.tolist() == list(range(10))
    assert dataset.train.x_NCHW.shape == (10, 3, 32, 32)
