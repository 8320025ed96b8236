"""Folders of images: one sub-folder for each class, in one folder for each part or in one for all.

Light: finds files and opens none.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.stage import StageError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_HELD_OUT = ("val", "validation", "test")
_TRAIN = "train"

Listing = tuple[list[str], list[int]]
"""Paths of images, and the number of the class of each."""


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted as torchvision's ImageFolder does."""
    with os.scandir(root) as entries:
        return sorted(each.name for each in entries if each.is_dir())


def image_files(folder: Path) -> list[str]:
    """Return the paths of all images in `folder` and below it, sorted."""
    found = [
        os.path.join(where, name)  # noqa: PTH118  (a million Path objects take a gigabyte)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_SUFFIXES)
    ]
    return sorted(found)


def listing(folder: Path, classes: Sequence[str]) -> Listing:
    """Return the images of `folder`, which has one sub-folder for each class.

    Raises:
        StageError: A sub-folder is no class, or there is no image.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    for name in class_folders(folder):
        if name not in numbers:
            raise StageError(
                "data.root",
                f"{folder} has a folder that is no class of the training part ({name})",
                "name the class folders of both parts alike",
            )
        files = image_files(folder / name)
        paths += files
        labels += [numbers[name]] * len(files)
    if not paths:
        raise StageError(
            "data.root", f"holds no images ({folder})", "put images into its class folders"
        )
    return paths, labels


def held_out_folder(root: Path) -> Path | None:
    """Return the folder of the held-out part, None where there is none."""
    return next((root / name for name in _HELD_OUT if (root / name).is_dir()), None)


def has_parts(root: Path) -> bool:
    """Tell whether `root` holds a folder train/ and one of val/, validation/ and test/."""
    return (root / _TRAIN).is_dir() and held_out_folder(root) is not None


def is_parted(root: Path) -> bool:
    """Tell whether `root` holds parts, not classes: train/ and a held-out one, or that alone."""
    held_out = held_out_folder(root)
    return has_parts(root) or (held_out is not None and class_folders(root) == [held_out.name])


def classes(root: Path) -> list[str]:
    """Return the names of the classes of a folder, in parts or not."""
    if not is_parted(root):
        return class_folders(root)
    train = root / _TRAIN
    return class_folders(train if train.is_dir() else held_out_folder(root) or root)


def parts(root: Path) -> tuple[Listing, Listing, list[str]]:
    """Return the training and the held-out part of a folder that has both, and the classes.

    Without train/ the training part is empty and the classes are those of the other: enough
    where the teacher's weights are given.

    Raises:
        StageError: No held-out part, or parts that do not fit each other.
    """
    held_out = held_out_folder(root)
    if held_out is None:
        raise StageError(
            "data.root",
            f"has no validation part (no {', '.join(_HELD_OUT)} in {root})",
            "add a folder val/ with one sub-folder for each class",
        )
    train = root / _TRAIN
    names = class_folders(train if train.is_dir() else held_out)
    first = listing(train, names) if train.is_dir() else ([], [])
    return first, listing(held_out, names), names
