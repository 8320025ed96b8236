"""Folders of unlabelled images: digits that no set has, in grey files of 8 pixels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits


def moved_digits(count: int) -> NDArray[np.uint8]:
    """Return digits, moved by a pixel and darker, of shape NHW: no images of the set."""
    levels_NHW: NDArray[np.float64] = load_digits().images[:count] * 255 / 16
    return np.rint(np.roll(levels_NHW, 1, axis=2) * 0.9).astype(np.uint8)


def unlabelled_folder(folder: Path, count: int, *, flat: bool = False) -> Path:
    """Write such digits, in a flat folder or at two depths, and return the folder."""
    for number, levels_HW in enumerate(moved_digits(count)):
        below = folder if flat else folder / ("a", "b/c")[number % 2]
        below.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels_HW).save(below / f"{number:04}.png")
    return folder
