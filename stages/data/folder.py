"""Folders of images: one sub-folder for each class, in one folder for each part or in one for all.

Finds the files, splits them, and checks what the loaders of the well-known sets have in common.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data.datasets import SPECS, Spec
from stages.data.files import ImageFiles, image_files
from stages.data.images import DatasetPart, LoadedSource

_HELD_OUT = ("val", "validation", "test")
_TRAIN = "train"
_SPLIT_SEED = 0
_FEWEST_CLASSES = 2


class Listing(NamedTuple):
    """The files of a part."""

    paths: list[str]
    labels: list[int]
    """The number of the class of each image."""

    def part(self, spec: Spec) -> DatasetPart:
        """Return the files as images and labels."""
        return DatasetPart(ImageFiles(self.paths, spec), np.asarray(self.labels, np.int64))


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the held-out part, and the class names.

    A folder with train/ and val/ (or test/) is split as it is; any other by a fixed draw within
    each class.

    Raises:
        StageError: Fewer than two classes, a class without images, or parts that do not fit.
    """
    if not root.is_dir():
        raise StageError("data.root", f"is no folder ({root})", "name the folder of the classes")
    base = classes_folder(root)
    names = class_folders(base)
    if len(names) < _FEWEST_CLASSES:
        raise StageError(
            "data.root",
            f"holds {len(names)} class folders ({', '.join(names) or 'none'} in {root})",
            "put the images of each class into a sub-folder of its own, or name the parts train "
            "and val",
        )
    if base == root:
        rng = np.random.default_rng(_SPLIT_SEED)
        train, held_out = Listing([], []), Listing([], [])
        for label, name in enumerate(names):
            paths = image_files(root / name)
            if len(paths) < 2:  # noqa: PLR2004  (one for each part)
                raise StageError(
                    "data.root",
                    f"a class needs at least 2 images ({root / name} has {len(paths)})",
                    "add images or remove the folder",
                )
            count = min(len(paths) - 1, max(1, round(len(paths) * data.held_out_fraction)))
            order = rng.permutation(len(paths))
            for part, chosen in ((held_out, order[:count]), (train, order[count:])):
                part.paths.extend(paths[i] for i in sorted(chosen))
                part.labels.extend([label] * len(chosen))
    else:
        train, held_out, _ = list_parts(data, root)
    return LoadedSource(train.part(spec), held_out.part(spec), tuple(names))


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted as torchvision's ImageFolder does."""
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def list_classes(folder: Path, classes: Sequence[str]) -> Listing:
    """Return the images of `folder`, which has one sub-folder for each class.

    Raises:
        StageError: A sub-folder is no class, or there is no image.
    """
    labels = {name: label for label, name in enumerate(classes)}
    listing = Listing([], [])
    for name in class_folders(folder):
        if name not in labels:
            raise StageError(
                "data.root",
                f"{folder} has a folder that is no class of the training part ({name})",
                "name the class folders of both parts alike",
            )
        paths = image_files(folder / name)
        listing.paths.extend(paths)
        listing.labels.extend([labels[name]] * len(paths))
    if not listing.paths:
        raise StageError(
            "data.root", f"holds no images ({folder})", "put images into its class folders"
        )
    return listing


def held_out_folder(root: Path) -> Path | None:
    """Return the folder of the held-out part, None where there is none."""
    return next((root / name for name in _HELD_OUT if (root / name).is_dir()), None)


def classes_folder(root: Path) -> Path:
    """Return train/ or the held-out part where `root` holds these parts, `root` where classes."""
    held_out, train = held_out_folder(root), root / _TRAIN
    if held_out is not None and train.is_dir():
        return train
    return held_out if held_out and class_folders(root) == [held_out.name] else root


def list_parts(data: Data, root: Path) -> tuple[Listing, Listing, list[str]]:
    """Return the training and the held-out part of a folder that has both, and the classes.

    Without train/ the training part is empty and the classes are those of the other: enough
    where the teacher's weights come from a file.

    Raises:
        StageError: No held-out part, or parts that do not fit each other.
    """
    held_out, train = held_out_folder(root), root / _TRAIN
    if held_out is None:
        raise absent(data, root, "val/")
    names = class_folders(train if train.is_dir() else held_out)
    listing = list_classes(train, names) if train.is_dir() else Listing([], [])
    return listing, list_classes(held_out, names), names


def absent(data: Data, root: Path, missing: str) -> StageError:
    """Return the error for a set of which `missing` is not in `root`; says what to put where."""
    return StageError(
        "data.root", f"holds no {data.source} (no {missing} in {root})", SPECS[data.source].where
    )


def check_class_count(data: Data, spec: Spec, classes: list[str], root: Path) -> None:
    """Make sure that there are as many classes as the well-known set has.

    Raises:
        StageError: There are not; labels would be those of other classes.
    """
    if len(classes) != spec.num_classes:
        raise StageError(
            "data.root",
            f"has {len(classes)} classes where {data.source} has {spec.num_classes} ({root})",
            'complete it, or set data.source = "folder" and data.image_size_px for another set',
        )


def load_parts(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return a well-known set that lies in train/CLASS/ and val/CLASS/ or test/CLASS/.

    Raises:
        StageError: A part is missing or has other classes than the set.
    """
    train, held_out, classes = list_parts(data, root)
    check_class_count(data, spec, classes, root)
    return LoadedSource(train.part(spec), held_out.part(spec), tuple(classes))
