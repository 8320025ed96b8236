"""Images in one sub-folder for each class, split by a fixed draw within each class."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.settings import Data
from pipeline.stage import StageError
from stages.data.specs import Spec

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_SPLIT_SEED = 0
_FEWEST_CLASSES = 2
_NAMED_FAULTS = 3


def load(
    data: Data, spec: Spec, root: Path | None
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], tuple[str, ...]]:
    """Return the training and the held-out part as (uint8 NHWC, labels), and the class names.

    Raises:
        StageError: Fewer than two classes, a class without images, or unreadable files.
    """
    assert root is not None
    if not root.is_dir():
        raise StageError("data.root", f"is no folder ({root})", "name the folder of the classes")
    classes = sorted(each.name for each in root.iterdir() if each.is_dir())
    if len(classes) < _FEWEST_CLASSES:
        raise StageError(
            "data.root",
            f"holds {len(classes)} class folders ({root})",
            "put the images of each class into a sub-folder of its own",
        )
    rng = np.random.default_rng(_SPLIT_SEED)
    train: list[tuple[Path, int]] = []
    held_out: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        files = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in _SUFFIXES)
        if len(files) < 2:  # noqa: PLR2004  (one for each part)
            raise StageError(
                "data.root",
                f"a class needs at least 2 images ({root / name} has {len(files)})",
                "add images or remove the folder",
            )
        count = min(len(files) - 1, max(1, round(len(files) * data.held_out_fraction)))
        order = rng.permutation(len(files))
        held_out += [(files[i], label) for i in sorted(order[:count])]
        train += [(files[i], label) for i in sorted(order[count:])]
    return _read(train, spec), _read(held_out, spec), tuple(classes)


def _read(files: list[tuple[Path, int]], spec: Spec) -> tuple[np.ndarray, np.ndarray]:
    """Read images, the shorter side scaled to the size and the middle cut out."""
    size = spec.image_size_px
    x_NHWC = np.empty((len(files), size, size, spec.channels), np.uint8)
    faults: list[str] = []
    for number, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(
                    _fitted(image.convert("L" if spec.channels == 1 else "RGB"), size)
                )
        except (OSError, UnidentifiedImageError):
            faults.append(str(path))
            continue
        x_NHWC[number] = pixels.reshape(size, size, spec.channels)
    if faults:
        raise StageError(
            "data.root",
            f"{len(faults)} files are no readable images ({', '.join(faults[:_NAMED_FAULTS])})",
            "remove or repair them",
        )
    return x_NHWC, np.asarray([label for _, label in files])


def _fitted(image: Image.Image, size: int) -> Image.Image:
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
