"""Images in one sub-folder for each class, split as given or by a fixed draw within each class."""

from pathlib import Path

import numpy as np

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import layout
from stages.data.files import Files
from stages.data.images import Parts
from stages.data.layout import Listing
from stages.data.specs import Spec

_SPLIT_SEED = 0
_FEWEST_CLASSES = 2


def load(data: Data, spec: Spec, root: Path | None) -> Parts:
    """Return the training and the held-out part, and the class names.

    A folder with train/ and val/ (or test/) is split as it is; any other by a draw.

    Raises:
        StageError: Fewer than two classes, a class without images, or parts that do not fit.
    """
    assert root is not None
    if not root.is_dir():
        raise StageError("data.root", f"is no folder ({root})", "name the folder of the classes")
    if layout.is_parted(root):
        train, held_out, classes = layout.parts(root)
        _check_count(classes, root)
    else:
        classes = layout.class_folders(root)
        _check_count(classes, root)
        train, held_out = _drawn(root, classes, data.held_out_fraction)
    return files(train, spec), files(held_out, spec), tuple(classes)


def _check_count(classes: list[str], root: Path) -> None:
    if len(classes) < _FEWEST_CLASSES:
        raise StageError(
            "data.root",
            f"holds {len(classes)} class folders ({', '.join(classes) or 'none'} in {root})",
            "put the images of each class into a sub-folder of its own, or name the parts train "
            "and val",
        )


def files(found: Listing, spec: Spec) -> tuple[Files, "np.ndarray"]:
    """Return a listing as images and labels."""
    paths, labels = found
    return Files(paths, spec), np.asarray(labels, np.int64)


def _drawn(root: Path, classes: list[str], fraction: float) -> tuple[Listing, Listing]:
    rng = np.random.default_rng(_SPLIT_SEED)
    train: Listing = ([], [])
    held_out: Listing = ([], [])
    for label, name in enumerate(classes):
        paths = layout.image_files(root / name)
        if len(paths) < 2:  # noqa: PLR2004  (one for each part)
            raise StageError(
                "data.root",
                f"a class needs at least 2 images ({root / name} has {len(paths)})",
                "add images or remove the folder",
            )
        count = min(len(paths) - 1, max(1, round(len(paths) * fraction)))
        order = rng.permutation(len(paths))
        for part, chosen in ((held_out, order[:count]), (train, order[count:])):
            part[0].extend(paths[i] for i in sorted(chosen))
            part[1].extend([label] * len(chosen))
    return train, held_out
