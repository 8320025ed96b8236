"""The bank: synthetic images, kept for checks and calibration in place of real ones.

Shape legend: N images, C channel, H W space.
"""

import importlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import declared_bytes
from pipeline.atomic import write_bytes
from pipeline.errors import first_line
from pipeline.stage import OnNote, StageError, no_note
from stages import bank_recipe

if TYPE_CHECKING:
    from torch import Tensor

_NHWC = 4
_RECIPE = ".json"


class StoredImages:
    """Images in [0, 1] of shape NCHW that stay as they are stored until some are asked for.

    Indexing returns some of them, and `np.asarray` their floats: 4096 images of 224 pixels are 0.6
    GB as bytes and 2.5 as floats.
    """

    def __init__(self, x: NDArray[Any], order_N: NDArray[np.intp] | None = None) -> None:
        """Take uint8 of shape NHWC or floats of shape NCHW, in their order or in `order_N`."""
        self._x = x
        self._order_N = np.arange(len(x)) if order_N is None else order_N

    def __len__(self) -> int:
        """Return the number N of images."""
        return len(self._order_N)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return N, C, H and W."""
        sizes = self._x.shape[1:]
        channels, height, width = (sizes[2], *sizes[:2]) if self._is_bytes else sizes
        return len(self), channels, height, width

    @property
    def nbytes(self) -> int:
        """Return what they take as they are stored."""
        return int(np.prod(self.shape)) * self._x.itemsize

    @property
    def stored(self) -> NDArray[Any]:
        """Return them as they are stored, in their order."""
        return self._x[self._order_N]

    @property
    def _is_bytes(self) -> bool:
        return self._x.dtype == np.uint8

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "StoredImages":
        """Return some images; nothing is copied."""
        return StoredImages(self._x, self._order_N[rows])

    def interleaved(self, other: "StoredImages") -> "StoredImages":
        """Return an image of this and one of the other in turns, then what is left of this one.

        Both are bytes. Of the other, no more are taken than this one has.
        """
        count = min(len(self), len(other))
        first, second = self[:count].stored, other[:count].stored
        x_NHWC = np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
        return StoredImages(np.concatenate([x_NHWC, self[count:].stored]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001
        """Return the floats."""
        x = self._x[self._order_N]
        if not self._is_bytes:
            return np.ascontiguousarray(x, dtype or np.float32)
        x_NCHW = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
        x_NCHW /= 255
        return x_NCHW if dtype is None else x_NCHW.astype(dtype, copy=False)


Images = NDArray[np.float32] | StoredImages
"""Images in [0, 1] of shape NCHW, of which slices are taken."""


def save(path: Path, x_NCHW: "Tensor") -> None:
    """Write images in [0, 1] as an .npz with `x`, uint8 of shape NHWC; same images, same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=as_bytes(x_NCHW))
    write_bytes(path, buffer.getvalue())


def as_bytes(x_NCHW: "Tensor") -> NDArray[np.uint8]:
    """Return images in [0, 1] as a bank holds them, of shape NHWC."""
    x_NHWC = (x_NCHW.float().cpu() * 255).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(x_NHWC, np.uint8)


def load_array(path: Path, place: str, *, remedy: str, on_note: OnNote = no_note) -> NDArray[Any]:
    """Return the array `x` of an .npz file, which is never unpickled, or that a recipe describes.

    Where a run keeps no images its recipe stands for them, and they are drawn again; `on_note` is
    told where they differ from those that were drawn first.

    Raises:
        StageError: It is no such file, or damaged; `remedy` says what to do.
    """
    if path.suffix == _RECIPE:
        # By name, for it needs torch, which a build does without where a bank is stored.
        drawn_bank = importlib.import_module("stages.drawn_bank")
        drawn_NHWC: NDArray[np.uint8] = drawn_bank.draw_again(path, place, on_note)
        return drawn_NHWC
    if recipe := bank_recipe.standing_for(path):
        raise StageError(place, *bank_recipe.absent(path, recipe))
    declared_bytes.check_archive(path, path, place, remedy)
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                with archive:
                    return np.asarray(archive["x"])
    except Exception as error:  # numpy and zipfile have many classes for what is damaged
        # numpy's own text for what is no array file at all advises to unpickle it.
        reason = getattr(error, "strerror", None) or first_line(error)
        reason = "no file of arrays" if "pickle" in str(error) else reason
        raise StageError(place, f"is no bank of images ({path}: {reason})", remedy) from error
    raise StageError(place, f"is no .npz file ({path}: one array)", remedy)


def load(path: Path, place: str, on_note: OnNote = no_note) -> NDArray[np.float32]:
    """Return the images of a bank as float in [0, 1], shape NCHW; `on_note` as in `load_array`.

    Raises:
        StageError: The file holds no such array.
    """
    x = load_array(path, place, remedy="give an .npz with x", on_note=on_note)
    if x.ndim != _NHWC or not len(x):
        raise StageError(place, f"holds no images ({path}: shape {x.shape})", "give an .npz with x")
    if x.dtype == np.uint8:
        x = x.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.ascontiguousarray(x, dtype=np.float32)
