"""The digits: real images, split once and for all."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.settings import Data
from stages.data import digits
from stages.data.datasets import spec_of

DATA = Data()


def _load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and labels of the training part, then those of the held-out one."""
    train, held_out, classes, _ = digits.load(DATA, spec_of(DATA), Path())
    assert classes == tuple("0123456789")
    assert isinstance(train.x, np.ndarray)
    assert isinstance(held_out.x, np.ndarray)
    return train.x, train.y_N, held_out.x, held_out.y_N


def test_the_split_is_of_1257_and_540_images_that_are_all_there() -> None:
    x_train, y_train, x_held, y_held = _load()
    assert x_train.shape == (1257, 8, 8, 1)
    assert x_held.shape == (540, 8, 8, 1)
    assert (len(y_train), len(y_held)) == (1257, 540)
    counts = np.bincount(np.concatenate([y_train, y_held]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_sixteen_levels_fill_the_range_of_a_byte() -> None:
    x_train = _load()[0]
    assert x_train.dtype == np.uint8
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert len(np.unique(x_train)) == 17


def test_the_split_is_always_the_same() -> None:
    one, other = (hashlib.sha256(b"".join(part.tobytes() for part in _load())) for _ in range(2))
    assert one.digest() == other.digest()


def test_they_are_read_as_scikit_learn_does_without_importing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.datasets", None)  # importing it would raise
        read = _load()
    monkeypatch.setattr(digits, "_FILE", "datasets/elsewhere.csv.gz")
    for part, of_library in zip(read, _load(), strict=True):
        assert part.dtype == of_library.dtype
        assert np.array_equal(part, of_library)


def test_the_mean_and_deviation_of_the_spec_are_those_of_the_images() -> None:
    x_train, spec = _load()[0], spec_of(DATA)
    assert abs(x_train.mean() / 255 - spec.mean[0]) < 0.005
    assert abs(x_train.std() / 255 - spec.std[0]) < 0.005
