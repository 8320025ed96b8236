"""A folder of images without labels: listed, checked, read as the teacher takes them, and split.

Every image below the folder counts, at any depth; what sub-folders may mean is not asked.

Shape legend: N images, B batch, C channels, H W space.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipeline.gates.real_images import ImageList, RealImages
from pipeline.preprocessing import Preprocessing
from pipeline.stage import OnNote, StageError, no_note
from stages.data.decode import NO_IMAGE, formats
from stages.data.files import read_images
from stages.data.tree import LeftOut, image_files, some
from stages.networks.predict import OnImages, no_progress
from stages.unlabelled_images import HELD_BACK_SHARE, UnlabelledImages

SETTING = "distill.images"
"""The place of all errors here."""
_SPLIT_SEED = 0
_MOST_HELD_BACK = 4096
_HELD_BACK_BYTES = 256 << 20
"""Of all pixels that are held back: 4096 images of 145 pixels, 1783 of 224."""
_MEMORY_BYTES = 1 << 30
_CHUNK_BYTES = 256 << 20
_SMALLEST_PART = 4
"""An image whose shorter side is below such a part of what is cut out shows next to nothing."""
_DIGEST_BYTES = 16
_CHANNELS = (1, 3)


class UnlabelledFiles:
    """Images of shape NCHW and type uint8 that lie in files; indexing reads some of them."""

    def __init__(self, paths: Sequence[str], preprocessing: Preprocessing) -> None:
        """Name the files, in order, and what becomes of their images."""
        self.paths = paths
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        """Read some images, of shape BCHW; StageError where files are no images any more."""
        return read([self.paths[i] for i in indices.tolist()], self._preprocessing)


def load(
    folder: Path,
    preprocessing: Preprocessing,
    *,
    weight: float,
    fewest: int,
    on_note: OnNote = no_note,
    on_progress: OnImages = no_progress,
) -> UnlabelledImages:
    """Return the images of a folder: those to learn from, and a fifth that is held back.

    The split is a fixed draw among images whose pixels differ. At most 4096 are held back, and no
    more than 256 MiB of pixels. All are read once; more than 1 GiB stay in their files.

    Args:
        folder: Where the images lie.
        preprocessing: What becomes of them: what the teacher takes.
        weight: Of the images in the student's loss; with 0 none is learned from.
        fewest: Images that a student step takes.
        on_note: Gets what is left out.
        on_progress: Called with how many files are read.

    Raises:
        StageError: The folder holds no images, files that cannot be read, or too few.
    """
    left_out = LeftOut()
    paths = listing(folder, left_out)
    for note in left_out.notes():
        on_note(f"{SETTING}: {note}")
    look_at(paths, preprocessing)
    values = preprocessing.channels * math.prod(preprocessing.size_px)
    x_NCHW, digests = _read_all(paths, preprocessing, values, on_progress)
    first = {digest: number for number, digest in reversed(list(enumerate(digests)))}
    kept_N = np.sort(np.fromiter(first.values(), np.int64))
    if copies := len(paths) - len(kept_N):
        on_note(f"{SETTING}: {copies} of {len(paths)} images are copies of others, and count once")
    learned_N, held_back_N = _split(kept_N, values, is_learned=weight > 0)
    if weight and len(learned_N) < fewest:
        wrong = (
            f"has fewer images than a student step takes ({len(kept_N)}, of which "
            f"{len(held_back_N)} are held back; a step takes {fewest})"
        )
        remedy = "add images, set a smaller batch, or distill.lambda2 = 0 not to learn from them"
        raise StageError(SETTING, wrong, remedy)
    every = [*learned_N, *held_back_N]
    pixels = tuple(digests[i] for i in every)
    use = RealImages(
        learned=len(learned_N),
        held_back=len(held_back_N),
        weight=weight,
        id=hashlib.sha256("".join(sorted(pixels)).encode()).hexdigest(),
    )
    names = tuple(Path(paths[i]).relative_to(folder).as_posix() for i in every)
    image_list = ImageList(use=use, pixels=pixels, names=names)
    if x_NCHW is not None:
        learned = x_NCHW[torch.from_numpy(learned_N)]
        return UnlabelledImages(learned, x_NCHW[torch.from_numpy(held_back_N)], image_list)
    files = UnlabelledFiles([paths[i] for i in learned_N], preprocessing)
    held_back = read([paths[i] for i in held_back_N], preprocessing)
    return UnlabelledImages(files, held_back, image_list)


def listing(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the paths of all images below a folder, sorted.

    Raises:
        StageError: It is no folder, or holds no images.
    """
    left_out = left_out or LeftOut()
    if not folder.is_dir():
        raise StageError(SETTING, f"is no folder ({folder})", "name a folder with image files")
    paths = image_files(folder, left_out)
    if not paths:
        seen = "; ".join((str(folder), *left_out.notes()))
        raise StageError(SETTING, f"holds no images ({seen})", "name a folder with image files")
    return paths


def look_at(paths: Sequence[str], preprocessing: Preprocessing) -> None:
    """Make sure, by the headers of files, that they are images of a size to learn from.

    Raises:
        StageError: Some are no images, or far smaller than what the teacher takes.
    """
    if preprocessing.channels not in _CHANNELS:
        wrong = f"images in files have 1 or 3 channels, the teacher takes {preprocessing.channels}"
        raise StageError(SETTING, f"{wrong} ({len(paths)} files)", "leave the setting out")
    least_px = min(preprocessing.size_px) / _SMALLEST_PART
    broken: list[str] = []
    small: list[str] = []
    for path in paths:
        try:
            with Image.open(path, formats=formats()) as image:
                if min(image.size) < least_px:
                    small.append(f"{path}: {image.height}x{image.width}")
        except Exception:  # noqa: BLE001  (of many classes, for what is no image or too large)
            broken.append(path)
    if broken:
        raise StageError(
            SETTING, f"{len(broken)} files {NO_IMAGE[0]} ({some(broken)})", NO_IMAGE[1]
        )
    if small:
        height, width = preprocessing.size_px
        wrong = (
            f"{len(small)} images are far smaller than the {height}x{width} pixels that the "
            f"teacher takes ({some(small)})"
        )
        raise StageError(SETTING, wrong, "remove them, or name a folder of larger ones")


def read(
    paths: Sequence[str], preprocessing: Preprocessing, on_progress: OnImages = no_progress
) -> Tensor:
    """Return images as the teacher takes them, uint8 of shape NCHW.

    Raises:
        StageError: Files are no images, or none that can be used; says how many and names some.
    """
    x_NHWC = read_images(paths, preprocessing, place=SETTING, on_progress=on_progress)
    return torch.from_numpy(np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)))


def pixel_digests(x_NCHW: Tensor | NDArray[np.uint8]) -> list[str]:
    """Return a digest of the pixels of each image, of uint8 and shape NCHW."""
    return [
        hashlib.blake2b(
            np.ascontiguousarray(x_CHW).tobytes(), digest_size=_DIGEST_BYTES
        ).hexdigest()
        for x_CHW in np.asarray(x_NCHW)
    ]


def _read_all(
    paths: Sequence[str], preprocessing: Preprocessing, values: int, on_progress: OnImages
) -> tuple[Tensor | None, list[str]]:
    """Return all images where memory has room for them, and their digests."""
    if len(paths) * values <= _MEMORY_BYTES:
        x_NCHW = read(paths, preprocessing, on_progress)
        return x_NCHW, pixel_digests(x_NCHW)
    digests: list[str] = []
    count = max(1, _CHUNK_BYTES // values)
    for begin in range(0, len(paths), count):
        progress = _shifted(on_progress, begin, len(paths))
        digests += pixel_digests(read(paths[begin : begin + count], preprocessing, progress))
    return None, digests


def _shifted(on_progress: OnImages, begin: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: on_progress(begin + done, total)


def _split(
    kept_N: NDArray[np.int64], values: int, *, is_learned: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which images are learned from, and which are held back, each in its order."""
    share = HELD_BACK_SHARE if is_learned else 1
    most = max(1, min(_MOST_HELD_BACK, _HELD_BACK_BYTES // values))
    count = min(most, max(1, round(len(kept_N) * share)))
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(kept_N))
    learned = order[count:] if is_learned else order[:0]
    return kept_N[np.sort(learned)], kept_N[order[:count]]
