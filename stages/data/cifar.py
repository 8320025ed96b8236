"""CIFAR-10 and CIFAR-100 from the files that torchvision knows; nothing is downloaded."""

from pathlib import Path

import numpy as np
from torchvision import datasets

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data.specs import Spec

_CLASSES = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


def load(
    data: Data,
    spec: Spec,  # noqa: ARG001  (one signature for all sources)
    root: Path | None,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], tuple[str, ...]]:
    """Return the training and the test part as (uint8 NHWC, labels), and the class names.

    Raises:
        StageError: The files are not in `root`.
    """
    kind = _CLASSES[data.source]
    assert root is not None
    try:
        train = kind(str(root), train=True, download=False)
        test = kind(str(root), train=False, download=False)
    except RuntimeError as error:
        raise StageError(
            "data.root",
            f"holds no {data.source} that torchvision can read ({root})",
            f"unpack the python version of {data.source} there, as {kind.base_folder}/",
        ) from error
    parts = [(part.data, np.asarray(part.targets)) for part in (train, test)]
    return parts[0], parts[1], tuple(train.classes)
