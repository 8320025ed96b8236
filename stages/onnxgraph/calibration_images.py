"""Images to calibrate with, from a bank, an .npz of one's own or a folder.

Shape legend: N images, C channel, H W space.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pipeline.stage import OnNote, StageError, no_note
from stages import image_bank
from stages.data.tree import LeftOut, image_files
from stages.engines.base import OnProgress, no_progress
from stages.image_bank import StoredImages
from stages.onnxgraph.io import image_shape
from stages.onnxgraph.preprocessing import preprocessing_of

_DIMENSIONS = 4
_MAX_FILES = 4096
_DRAW_SEED = 0
BANK = "the bank"
"""The place of images that a distill run left, which are in no order already."""


def load(
    path: Path,
    model: ModelProto,
    place: str,
    on_note: OnNote = no_note,
    on_progress: OnProgress = no_progress,
    *,
    real_path: Path | None = None,
) -> StoredImages:
    """Return images in [0, 1], shape NCHW, that fit the model's input, in a fixed random order.

    Folders and arrays are sorted by class as a rule, and calibration takes the first ones.

    Args:
        path: An .npz with `x` (uint8 NHWC or float NCHW), the bank.json of a run without a bank, or
            a folder, whose images are scaled and cropped as for validation (4096 at most).
        model: The graph that takes them, whose input was checked.
        place: The option or output that named the path, for messages.
        on_note: Gets what of a folder is left out, and where a bank was drawn otherwise.
        on_progress: Called with how many images of a folder are read.
        real_path: Real images of a distill run, which are taken in turns with those.

    Raises:
        StageError: No such file, no images in it, or images that do not fit.
    """
    shape_CHW, order_N = image_shape(model), None
    if path.is_dir():
        x: NDArray[Any] = _read_folder(path, model, place, on_note, on_progress)
    else:
        x = image_bank.load_array(
            path, place, remedy="give an .npz with x, or a folder", on_note=on_note
        )
        if place != BANK and x.ndim == _DIMENSIONS:
            order_N = np.random.default_rng(_DRAW_SEED).permutation(len(x))
    if x.ndim != _DIMENSIONS or not len(x):
        raise StageError(
            place,
            f"holds no images ({path}: shape {x.shape})",
            "give an .npz with x of four dimensions and at least one image",
        )
    if x.dtype == np.uint8:
        images_NCHW = StoredImages(x, order_N)
    elif x.dtype.kind != "f" or not np.isfinite(x).all() or x.min() < 0 or x.max() > 1:
        raise StageError(
            place,
            f"holds neither bytes nor floats in [0, 1] ({path}: {x.dtype})",
            "give uint8 of shape NHWC, or floats in [0, 1] of shape NCHW",
        )
    else:
        images_NCHW = StoredImages(x.astype(np.float32, copy=False), order_N)
    if images_NCHW.shape[1:] != shape_CHW:
        raise StageError(
            place,
            f"holds images of another shape ({images_NCHW.shape[1:]}, the network takes "
            f"{shape_CHW})",
            "give images like those the network was made for",
        )
    if real_path is None:
        return images_NCHW
    return images_NCHW.interleaved(load(real_path, model, "the held-back images", on_note))


def _read_folder(
    path: Path, model: ModelProto, place: str, on_note: OnNote, on_progress: OnProgress
) -> NDArray[np.uint8]:
    """Return a folder's images, of shape NHWC, scaled and cropped as for validation."""
    from stages.data.decode import ARRAYS, MODES  # noqa: PLC0415  (Pillow, for folders alone)
    from stages.data.files import read_images  # noqa: PLC0415  (torch, for folders alone)

    shape_CHW = image_shape(model)
    left_out = LeftOut()
    files = _drawn(image_files(path, left_out))[:_MAX_FILES]
    if not files:
        seen = "; ".join((str(path), *left_out.notes()))
        raise StageError(place, f"holds no images ({seen})", "name a folder with image files")
    for note in left_out.notes():
        on_note(f"{place}: {note}")
    channels = shape_CHW[0]
    if channels not in MODES and any(not file.lower().endswith(ARRAYS) for file in files):
        raise StageError(
            place,
            f"pictures have 1, 3 or 4 channels, the network takes another number ({channels})",
            f"give an .npz with x, or .npy files of uint8, shape (height, width, {channels})",
        )
    return read_images(
        files,
        preprocessing_of(model),
        place=place,
        on_progress=lambda done, total: on_progress(done, total, "images (read)"),
    )


def _drawn(paths: list[str]) -> list[str]:
    """Return files in a fixed random order that begins with one of each folder."""
    order = np.random.default_rng(_DRAW_SEED).permutation(len(paths))
    shuffled = [paths[index] for index in order]
    first: dict[str, str] = {}
    for path in shuffled:
        first.setdefault(os.path.dirname(path), path)  # noqa: PTH120  (of strings, see files.py)
    leading = set(first.values())
    return [*first.values(), *(path for path in shuffled if path not in leading)]
