"""What in a tree of files are classes and images, and what is left out of it.

As torchvision's `ImageFolder`: sub-folders sorted by name are classes, images lie in them at any
depth, links are followed. Unlike it, what systems and tools leave behind is no class and no image.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Of files that are read as images, in lower case: those of torchvision's `ImageFolder`."""
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")
"""Of files that may say which class an image is of."""
_ARRAYS = ".npy"
"""Of images with any number of channels; beside pictures such files are something else."""
_OF_SYSTEMS = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found",
    "@recycle", "@tmp", "@__thumb", "#snapshot", "__pycache__", "thumbs.db", "desktop.ini",
}  # fmt: skip
_NAMED = 3


@dataclass(slots=True)
class LeftOut:
    """What was passed over in a data set."""

    folders: list[str] = field(default_factory=list)
    """Names of hidden folders."""
    hidden: list[str] = field(default_factory=list)
    """Paths of hidden files that look like images."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """How many files have another suffix than images."""
    beside: list[str] = field(default_factory=list)
    """Paths of images that lie beside class folders, in none of them."""
    empty: list[str] = field(default_factory=list)
    """Class folders without an image."""
    tables: list[str] = field(default_factory=list)
    """Names of files that may hold labels, but name no image that is there."""

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each kind of what was left out."""
        if self.folders:
            yield f"hidden folders are left out ({some(sorted(set(self.folders)))})"
        if self.hidden:
            names = some(sorted(os.path.basename(path) for path in self.hidden))  # noqa: PTH119
            yield f"{len(self.hidden)} hidden files are left out ({names})"
        if self.beside:
            paths = sorted(set(self.beside))
            yield f"{len(paths)} images in no class folder are left out ({some(paths)})"
        if self.empty:
            yield f"class folders without images ({some(sorted(self.empty))})"
        if self.suffixes:
            common = [f"{suffix} {n}" for suffix, n in self.suffixes.most_common()]
            yield (
                f"{self.suffixes.total()} files with other suffixes are left out, as "
                f"torchvision's ImageFolder does ({some(common)}); save images among them as PNG, "
                "and rename .jfif to .jpg, to use them"
            )


def some(names: Iterable[str]) -> str:
    """Return the first names, and that there are more."""
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or left by a system or a tool."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def may_be_image(path: str) -> bool:
    """Return whether what lies at a path in a set can be an image or hold some; see `External`."""
    name = path.rstrip("/").rpartition("/")[2]
    is_readable = path.endswith("/") or name.lower().endswith((*IMAGE_SUFFIXES, _ARRAYS))
    return is_readable and not is_hidden(name)


def may_be_labelled(path: str) -> bool:
    """Return the same of images and of what may say their classes."""
    return may_be_image(path) or path.lower().endswith(TABLE_SUFFIXES)


def is_seen(path: str) -> bool:
    """Return whether what lies at a path in a set is nothing that systems and tools leave."""
    return not is_hidden(path.rstrip("/").rpartition("/")[2])


def class_folders(root: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the names of the folders in `root`, sorted as torchvision's ImageFolder does."""
    names, images = [], []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir():
                names.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(entry.name):
                images.append(entry.path)
    names.sort()
    if left_out is not None:
        left_out.folders += filter(is_hidden, names)
        left_out.beside += images
    return [name for name in names if not is_hidden(name)]


def image_files(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the paths of all images in `folder` and below it, sorted; links are followed.

    Arrays are images where there are no others.
    """
    paths: list[str] = []
    arrays: list[str] = []
    left_out = left_out or LeftOut()
    around = folder.absolute().parent.stat()  # a link back to the set would make all classes one
    outside = frozenset([(around.st_dev, around.st_ino)])
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(str(folder), outside)]
    while waiting:
        parent, above = waiting.pop()
        status = os.stat(parent)  # noqa: PTH116  (a million Path objects take a gigabyte)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue  # a link to a folder that it lies in
        with os.scandir(parent) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                if entry.is_dir():
                    if is_hidden(entry.name):
                        left_out.folders.append(entry.name)
                    else:
                        waiting.append((entry.path, above | {identity}))
                elif is_hidden(entry.name):
                    left_out.hidden += [entry.path] if suffix in IMAGE_SUFFIXES else []
                elif suffix in IMAGE_SUFFIXES and (entry.is_file() or entry.is_symlink()):
                    paths.append(entry.path)
                elif suffix == _ARRAYS and entry.is_file():
                    arrays.append(entry.path)
                else:
                    left_out.suffixes[suffix or "none"] += 1
    if paths and arrays:
        left_out.suffixes[_ARRAYS] += len(arrays)
    return sorted(paths or arrays)
