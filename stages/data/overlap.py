"""Whether a folder of unlabelled images holds images of the labelled set: by bytes, or by pixels.

Runs before the first stage, in the process that plans them. The distill stage has no part in it
and reaches no labelled image.

Shape legend: N images, C channels, H W space.
"""

import hashlib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.gates.real_images import ImageList
from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data import unlabelled
from stages.data.datasets import loader_module, spec_of
from stages.data.files import ImageFiles
from stages.data.images import DatasetPart, Images
from stages.data.tree import some

_TAIL_BYTES = 4096
_REMEDY = "remove them from it: neither the training set nor what validates may be learned from"


def check(folder: Path, data: Data, root: Path) -> None:
    """Make sure that no image of a folder is one of [data].

    Files are compared by their bytes. Of a source that is no files, such as the digits, the images
    are compared by their pixels.

    Args:
        folder: The unlabelled images.
        data: The settings of the labelled ones.
        root: Their folder; without meaning for a source without files.

    Raises:
        StageError: Some are the same, or one folder lies in the other; names some.
    """
    if data.source != "digits":
        ours, theirs = folder.resolve(), root.resolve()
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            wrong = f"is data.root, inside it or around it ({folder}; data.root {root})"
            raise StageError(unlabelled.SETTING, wrong, "name a folder apart from it")
    paths = unlabelled.listing(folder)
    loaded = importlib.import_module(loader_module(data.source)).load(data, spec_of(data), root)
    parts = {"held out for validation": loaded.held_out, "of the training set": loaded.train}
    for what, part in parts.items():
        if same := _in_both(paths, part, data):
            wrong = f"{len(same)} of its images are {what} ({some(same)})"
            raise StageError(unlabelled.SETTING, wrong, _REMEDY)


def check_pixels(images: Images, used: ImageList) -> None:
    """Make sure that no held-out image has the pixels of one that a distillation used.

    Of more than 2 GiB, which stay in files, nothing is compared here.

    Raises:
        StageError: Some have; names the files of the others.
    """
    if isinstance(images.x_NCHW, ImageFiles):
        return
    names = dict(zip(used.pixels, used.names, strict=True))
    digests = dict.fromkeys(unlabelled.pixel_digests(images.x_NCHW.cpu()))
    if same := [names[digest] for digest in digests if digest in names]:
        wrong = f"{len(same)} of its images are held out for validation, by their pixels "
        raise StageError(unlabelled.SETTING, f"{wrong}({some(same)})", _REMEDY)


def same_bytes(paths: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return those of `paths` whose bytes are those of one of the other files, with its name.

    Sizes are compared first, then ends of files, so that few are read whole.
    """
    by_size: dict[int, list[str]] = {}
    for path in paths:
        by_size.setdefault(_size(path), []).append(path)
    candidates: dict[int, list[str]] = {}
    for path in others:
        if (size := _size(path)) in by_size:
            candidates.setdefault(size, []).append(path)
    same = []
    for size, ours in by_size.items():
        tails: dict[bytes, list[str]] = {}
        for path in candidates.get(size, ()):
            tails.setdefault(_tail(path, size), []).append(path)
        for path in ours if tails else ():
            equal = tails.get(_tail(path, size), ())
            if equal and (twin := next((o for o in equal if _sha256(o) == _sha256(path)), None)):
                same.append(f"{path} is {twin}")
    return sorted(same)


def _in_both(paths: Sequence[str], part: DatasetPart, data: Data) -> list[str]:
    """Return which of the files are images of a part."""
    if isinstance(part.x, ImageFiles):
        return same_bytes(paths, part.x.paths)
    if not len(part.x):
        return []
    known = set(unlabelled.pixel_digests(part.x.transpose(0, 3, 1, 2)))
    digests = unlabelled.pixel_digests(unlabelled.read(paths, spec_of(data).preprocessing()))
    return [path for path, digest in zip(paths, digests, strict=True) if digest in known]


def _size(path: str) -> int:
    return os.stat(path).st_size  # noqa: PTH116  (a million Path objects take a gigabyte)


def _tail(path: str, size: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(max(0, size - _TAIL_BYTES))
        return hashlib.blake2b(file.read(), digest_size=16).digest()


def _sha256(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
