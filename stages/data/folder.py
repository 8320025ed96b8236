"""Folders of images: one sub-folder for each class, in one folder for each part or in one for all.

Finds the files, splits them, and checks what the loaders of the well-known sets have in common.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.settings import Data
from pipeline.stage import StageError
from pipeline.texts import whole_number
from stages.data import labels_file, parts
from stages.data.classes import canonical
from stages.data.datasets import SPECS, Spec
from stages.data.files import ImageFiles
from stages.data.images import DatasetPart, LoadedSource
from stages.data.parts import Parts
from stages.data.tree import LeftOut, class_folders, image_files, some

_SPLIT_SEED = 0
_FEWEST_CLASSES = 2
_MOST_PARTS = 5
_MASKS = {"masks", "mask", "labels", "annotations", "ground_truth"}
"""Sub-folders of images that are no photographs."""
_PLAIN = {("train", "val"), ("train", "test"), ("train", "validation")}
_SAY_IT = "name the parts train and val, or the file of the labels in data.labels"


class Listing(NamedTuple):
    """The files of a part."""

    paths: list[str]
    labels: list[int]
    """The number of the class of each image."""

    def part(self, spec: Spec) -> DatasetPart:
        """Return the files as images and labels."""
        return DatasetPart(ImageFiles(self.paths, spec), np.asarray(self.labels, np.int64))


class Layout(NamedTuple):
    """How a folder holds its images."""

    base: Path
    """The folder of the class folders: of the training part, else of the held-out one, else all."""
    held_out: Path | None
    """The class folders of the held-out part, None where it is split off."""
    classes: list[str]
    """The names of the folders in `base`."""
    notes: tuple[str, ...]


def layout_of(root: Path, left_out: LeftOut | None = None) -> Layout:
    """Return where in `root` the class folders lie: in train/ and val/, one of them, or in it."""
    train, held_out, others, is_test = parts.of_folder(root)
    notes = []
    if train and held_out and is_test and not _has_classes_of(train, held_out):
        others = (*others, held_out.name)
        held_out = None
    if train and held_out and (train.name, held_out.name) not in _PLAIN:
        notes.append(f"{train.name}/ is the training part, {held_out.name}/ is held out")
    if others:
        notes.append(f"beside {_names(train, held_out)}, folders of data.root are left out ")
        notes[-1] += f"({some(others)})"
    if train and not held_out:
        notes.append(f"{train.name}/ has no held-out part beside it (data.held_out_fraction)")
    train, held_out = (part and parts.unwrapped(part) for part in (train, held_out))
    base = train or held_out or root
    return Layout(base, held_out, class_folders(base, left_out), tuple(notes))


def _has_classes_of(train: Path, held_out: Path) -> bool:
    """Return whether the images of a held-out part are in folders of classes."""
    names = [class_names(class_folders(parts.unwrapped(part))) for part in (train, held_out)]
    return len(names[1]) > 1 or not set(names[0]).isdisjoint(names[1])


def _names(*folders: Path | None) -> str:
    return " and ".join(f"{folder.name}/" for folder in folders if folder)


def load(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return the training and the held-out part, and the class names.

    A folder with train/ and val/, however they are spelt, is split as it is; any other by a fixed
    draw within each class. Without class folders a table in it says what is in the images.

    Raises:
        StageError: Fewer than two classes, a class without images, or parts that do not fit.
    """
    if not root.is_dir():
        raise StageError("data.root", f"is no folder ({root})", "name the folder of the classes")
    left_out = LeftOut()
    layout = layout_of(root, left_out)
    if table := _table(data, root, layout, left_out):
        return _of_table(table, data, spec, left_out)
    base, names = layout.base, layout.classes
    if len(names) < _FEWEST_CLASSES:
        deeper = [base / name for name in names if len(class_folders(base / name)) > 1]
        remedy = f"put the images of each class into a sub-folder of its own, or {_SAY_IT}"
        if left_out.tables:
            remedy += f" ({some(left_out.tables)} names no image that is there with its class)"
        raise StageError(
            "data.root",
            f"holds {len(names)} class folders ({', '.join(names) or 'none'} in {base})",
            f"set it to {deeper[0]} where the class folders lie there" if deeper else remedy,
        )
    if wrong := parts.look_like_parts(base, names):
        raise StageError("data.root", f"{wrong} ({base})", "name the parts train and val")
    notes = layout.notes
    if layout.held_out is None and (inside := _parts_of_classes(base, names)):
        notes += (f"the parts are {_names(*inside[0][:2])} in the folder of each class",)
        train, held_out = _inner_parts(base, names, inside, left_out)
    elif layout.held_out is None:
        inner = parts.shared(base, names[:_MOST_PARTS])
        if len(inner) > 1 and (len(names) <= _MOST_PARTS or not _MASKS.isdisjoint(inner)):
            hint = f"where {some(names)} are no classes, name the parts train and val"
            notes += (f"all class folders hold {some(inner)}, and all images count; {hint}",)
        train, held_out = _split(_by_class(base, names, left_out), data.held_out_fraction)
    else:
        train, held_out = _list_parts(layout, left_out)
    return LoadedSource(
        train.part(spec),
        held_out.part(spec),
        class_names(names),
        (*notes, *left_out.notes()),
    )


def seen_classes(data: Data, root: Path) -> tuple[str, ...]:
    """Return the classes of a folder, none where its folders do not say them."""
    layout = layout_of(root)
    is_seen = len(layout.classes) >= _FEWEST_CLASSES
    has_table = _table(data, root, layout, LeftOut()) is not None
    return class_names(layout.classes) if is_seen and not has_table else ()


def class_names(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes: those of their folders, in one form of Unicode."""
    return tuple(map(canonical, folders))


def _table(data: Data, root: Path, layout: Layout, left_out: LeftOut) -> labels_file.Table | None:
    has_parts = layout.base != root
    if has_parts and layout.classes and not data.labels:
        return None
    has_classes = len(layout.classes) >= _FEWEST_CLASSES
    return labels_file.of_folder(root, data.labels, has_classes=has_classes, left_out=left_out)


def _by_class(base: Path, names: Sequence[str], left_out: LeftOut) -> list[list[str]]:
    """Return the images of each class, at least one for each part."""
    by_class = [image_files(base / name, left_out) for name in names]
    for name, paths in zip(names, by_class, strict=True):
        if len(paths) < 2:  # noqa: PLR2004
            besides = "; ".join(("", *left_out.notes()))
            raise StageError(
                "data.root",
                f"a class needs at least 2 images ({base / name} has {len(paths)}{besides})",
                "add images or remove the folder",
            )
    return by_class


def _split(by_class: Sequence[Sequence[str]], held_out_fraction: float) -> tuple[Listing, Listing]:
    """Split the images of each class by a fixed draw; a share of 1 holds all of them out."""
    rng = np.random.default_rng(_SPLIT_SEED)
    train, held_out = Listing([], []), Listing([], [])
    for label, paths in enumerate(by_class):
        most = len(paths) - (held_out_fraction < 1)
        count = min(most, max(1, round(len(paths) * held_out_fraction)))
        order = rng.permutation(len(paths))
        for part, chosen in ((held_out, order[:count]), (train, order[count:])):
            part.paths.extend(paths[i] for i in sorted(chosen))
            part.labels.extend([label] * len(chosen))
    return train, held_out


def _parts_of_classes(base: Path, names: Sequence[str]) -> list[Parts]:
    """Return the parts in each class folder, nothing where one has none."""
    inside = []
    for name in names:
        part = parts.of_folder(base / name)
        if part.train is None or part.held_out is None:
            return []
        inside.append(part)
    return inside


def _inner_parts(
    base: Path, names: Sequence[str], inside: Sequence[Parts], left_out: LeftOut
) -> tuple[Listing, Listing]:
    """Return the parts of a set in which each class has its own."""
    listings = Listing([], []), Listing([], [])
    for label, part in enumerate(inside):
        for listing, folder in zip(listings, part[:2], strict=True):
            assert folder is not None
            if not (paths := image_files(folder, left_out)):
                others = [name for name in names if name != names[label]]
                raise StageError(
                    "data.root",
                    f"a part of a class holds no images ({folder})",
                    f"remove it, or set data.root to {base / others[0]} where that holds the parts",
                )
            listing.paths.extend(paths)
            listing.labels.extend([label] * len(paths))
    return listings


def _of_table(table: labels_file.Table, data: Data, spec: Spec, left_out: LeftOut) -> LoadedSource:
    """Return the images of a table; numbers of classes in it are their order."""
    train, held_out = table.train, table.held_out
    names = list(table.order) or sorted({*train.names, *held_out.names})
    if not table.order and all(whole_number(name.removeprefix("-")) is not None for name in names):
        names.sort(key=int)
    if len(names) < _FEWEST_CLASSES:
        wrong = f"names {len(names)} classes ({table.source}: {some(names)})"
        raise StageError("data.labels", wrong, "name the file and column of the classes")
    note = f"labels of {len(names)} classes are those of {table.source} (data.labels)"
    labels = {name: label for label, name in enumerate(names)}
    if not held_out.paths:
        if data.held_out_fraction < 1:
            note += f"; {data.held_out_fraction:.0%} of each class are held out by a fixed draw"
        by_class: list[list[str]] = [[] for _ in names]
        for path, name in zip(train.paths, train.names, strict=True):
            by_class[labels[name]].append(path)
        if few := [name for name, paths in zip(names, by_class, strict=True) if len(paths) < 2]:  # noqa: PLR2004
            wrong = f"names one image of some classes ({table.source}: {some(class_names(few))})"
            raise StageError("data.labels", wrong, "add images, or a column split with train, val")
        listings = _split(by_class, data.held_out_fraction)
    else:
        numbers = [[labels[name] for name in part.names] for part in (train, held_out)]
        listings = Listing(train.paths, numbers[0]), Listing(held_out.paths, numbers[1])
    left_out.suffixes.clear()  # the table and what lies beside it
    left_out.beside.clear()
    first, second = (listing.part(spec) for listing in listings)
    notes = (note, *table.notes, *left_out.notes())
    return LoadedSource(first, second, class_names(names), notes)


def list_classes(folder: Path, classes: Sequence[str], left_out: LeftOut | None = None) -> Listing:
    """Return the images of `folder`, which has one sub-folder for each class.

    Raises:
        StageError: A sub-folder is no class, or there is no image.
    """
    labels = {canonical(name): label for label, name in enumerate(classes)}
    listing = Listing([], [])
    for name in class_folders(folder, left_out):
        if canonical(name) not in labels:
            raise StageError(
                "data.root",
                f"{folder} has a folder that is no class of the training part ({name})",
                "name the class folders of both parts alike",
            )
        paths = image_files(folder / name, left_out)
        listing.paths.extend(paths)
        listing.labels.extend([labels[canonical(name)]] * len(paths))
        if left_out is not None and not paths:
            left_out.empty.append(str(folder / name))
    if not listing.paths:
        raise StageError(
            "data.root", f"holds no images ({folder})", "put images into its class folders"
        )
    return listing


def held_out_folder(root: Path) -> Path | None:
    """Return the folder of the held-out part, None where there is none."""
    name = parts.pick(class_folders(root))[1] if root.is_dir() else None
    return root / name if name else None


def list_parts(data: Data, root: Path) -> tuple[Listing, Listing, list[str], tuple[str, ...]]:
    """Return the training and the held-out part of a folder that has both, classes and notes.

    Without train/ the training part is empty and the classes are those of the other: enough
    where the teacher's weights come from a file.

    Raises:
        StageError: No held-out part, or parts that do not fit each other.
    """
    train, held_out = parts.pick(class_folders(root) if root.is_dir() else ())
    if held_out is None:
        raise absent(data, root, "val/")
    left_out = LeftOut()
    base = root / (train or held_out)
    layout = Layout(base, root / held_out, class_folders(base, left_out), ())
    return *_list_parts(layout, left_out), layout.classes, tuple(left_out.notes())


def _list_parts(layout: Layout, left_out: LeftOut) -> tuple[Listing, Listing]:
    assert layout.held_out is not None
    train = Listing([], [])
    if layout.base != layout.held_out:
        train = list_classes(layout.base, layout.classes, left_out)
    return train, list_classes(layout.held_out, layout.classes, left_out)


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
    if len(classes) != spec.num_classes and not data.classes:
        raise StageError(
            "data.root",
            f"has {len(classes)} classes where {data.source} has {spec.num_classes} ({root})",
            "complete it, or name all of the teacher's in data.classes, or set "
            'data.source = "folder" and data.image_size_px for another set',
        )


def load_parts(data: Data, spec: Spec, root: Path) -> LoadedSource:
    """Return a well-known set that lies in train/CLASS/ and val/CLASS/ or test/CLASS/.

    Raises:
        StageError: A part is missing or has other classes than the set.
    """
    train, held_out, classes, notes = list_parts(data, root)
    check_class_count(data, spec, classes, root)
    return LoadedSource(train.part(spec), held_out.part(spec), class_names(classes), notes)
