"""CIFAR-10 and CIFAR-100: the files that torchvision reads, or a folder for each class."""

from pathlib import Path

import numpy as np

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import folder
from stages.data.datasets import Spec
from stages.data.images import DatasetPart, LoadedSource


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the test part, and the class names.

    Raises:
        StageError: The files are not in `root`.
    """
    if folder.held_out_folder(root) is not None:
        return folder.load_parts(data, spec, root)
    from torchvision import datasets  # noqa: PLC0415  (seconds to import; only here)

    root = root.parent if root.name in spec.fetched else root  # the unpacked folder itself
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[data.source]
    try:
        train = kind(str(root), train=True, download=False)
        test = kind(str(root), train=False, download=False)
    except RuntimeError as error:
        raise StageError(
            "data.root", f"holds no {data.source} that torchvision can read ({root})", spec.where
        ) from error
    parts = [DatasetPart(part.data, np.asarray(part.targets)) for part in (train, test)]
    return LoadedSource(parts[0], parts[1], tuple(train.classes))
