"""scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels, part of the package."""

from pathlib import Path

import numpy as np

from pipeline.settings import Data
from stages.data.datasets import Spec
from stages.data.images import DatasetPart, LoadedSource

HELD_OUT = 540
_SPLIT_SEED = 0
_LEVELS = 16


def load(_data: Data, _spec: Spec, _root: Path) -> LoadedSource:
    """Return the training and the held-out part, and the class names.

    The split is fixed: it does not depend on the settings' seed, so figures stay comparable.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  (a second to import; only here)

    bunch = load_digits()
    x_NHWC = np.rint(bunch.images * (255 / _LEVELS)).astype(np.uint8)[..., None]
    y_N = bunch.target
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(y_N))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    return LoadedSource(
        DatasetPart(x_NHWC[train], y_N[train]),
        DatasetPart(x_NHWC[held_out], y_N[held_out]),
        tuple(str(digit) for digit in range(10)),
    )
