"""The bank: synthetic images, kept for checks and calibration in place of real ones."""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.atomic import write_bytes
from pipeline.stage import StageError

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_NHWC = 4


def save(path: Path, x_NCHW: Tensor) -> None:
    """Write images in [0, 1] as an .npz with `x`, uint8 of shape NHWC; same images, same bytes."""
    x_NHWC = (x_NCHW.float().cpu() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    buffer, archive_bytes = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(x_NHWC.numpy()), allow_pickle=False)
    with zipfile.ZipFile(archive_bytes, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed time, since numpy's own writer puts in the present one.
        archive.writestr(zipfile.ZipInfo("x.npy", _LONG_AGO), buffer.getvalue())
    write_bytes(path, archive_bytes.getvalue())


def load(path: Path, place: str) -> NDArray[np.float32]:
    """Return the images of a bank as float in [0, 1], shape NCHW.

    Raises:
        StageError: The file holds no such array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x = archive["x"]
    except (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise StageError(
            place, f"is no bank of images ({path}: {error})", "give an .npz with x"
        ) from error
    if x.ndim != _NHWC or not len(x):
        raise StageError(place, f"holds no images ({path}: shape {x.shape})", "give an .npz with x")
    if x.dtype == np.uint8:
        x = x.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.ascontiguousarray(x, dtype=np.float32)
