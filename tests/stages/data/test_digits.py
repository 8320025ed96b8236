"""The digits: real images, split once and for all."""

import hashlib

import numpy as np

from pipeline.settings import Data
from stages.data import digits
from stages.data.specs import spec_of

DATA = Data()


def test_the_split_is_of_1257_and_540_images_that_are_all_there() -> None:
    (x_train, y_train), (x_held, y_held), classes = digits.load(DATA, spec_of(DATA), None)
    assert x_train.shape == (1257, 8, 8, 1)
    assert x_held.shape == (540, 8, 8, 1)
    assert (len(y_train), len(y_held)) == (1257, 540)
    assert classes == tuple("0123456789")
    counts = np.bincount(np.concatenate([y_train, y_held]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_sixteen_levels_fill_the_range_of_a_byte() -> None:
    (x_train, _), _, _ = digits.load(DATA, spec_of(DATA), None)
    assert x_train.dtype == np.uint8
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert len(np.unique(x_train)) == 17


def test_the_split_is_always_the_same() -> None:
    def digest() -> str:
        _, (x_held, y_held), _ = digits.load(DATA, spec_of(DATA), None)
        return hashlib.sha256(x_held.tobytes() + y_held.tobytes()).hexdigest()

    assert digest() == digest()


def test_the_mean_and_deviation_that_are_known_are_those_of_the_images() -> None:
    (x_train, _), _, _ = digits.load(DATA, spec_of(DATA), None)
    spec = spec_of(DATA)
    assert abs(x_train.mean() / 255 - spec.mean[0]) < 0.005
    assert abs(x_train.std() / 255 - spec.std[0]) < 0.005
