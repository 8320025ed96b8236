"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels, part of the package.

Shape legend: N images, H W space, C channel.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.settings import Data
from stages.data.datasets import Spec
from stages.data.images import DatasetPart, LoadedSource

HELD_OUT = 540
_SPLIT_SEED = 0
_LEVELS = 16
_FILE = "datasets/data/digits.csv.gz"
"""In the package: read without it, which takes a second to import."""
_SHAPE = (-1, 8, 8)


def load(_data: Data, _spec: Spec, _root: Path) -> LoadedSource:
    """Return the training and the held-out part, and the class names.

    The split is fixed: it does not depend on the settings' seed, so figures stay comparable.
    """
    images_NHW, y_N = _read()
    x_NHWC = np.rint(images_NHW * (255 / _LEVELS)).astype(np.uint8)[..., None]
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(y_N))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return LoadedSource(
        DatasetPart(x_NHWC[train], y_N[train]),
        DatasetPart(x_NHWC[held_out], y_N[held_out]),
        tuple(str(digit) for digit in range(10)),
    )


def _read() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return images with values from 0 to 16 and labels, in the order of the file."""
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, _FILE)).is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1].reshape(_SHAPE), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # noqa: PLC0415  (where it keeps them elsewhere)

    bunch = load_digits()
    return bunch.images, bunch.target
