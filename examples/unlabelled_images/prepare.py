"""Stands for images that you may use: writes digits that nobody has labelled to unlabelled/.

They are those of scikit-learn, each moved by a pixel, larger, darker and noisy, so that none of
them is an image of the set that trains the teacher and validates.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
COUNT = 1000
SIZE_PX = 24


def main() -> None:
    """Write the images, in two sub-folders, whose names mean nothing."""
    rng = np.random.default_rng(0)
    for number, image in enumerate(load_digits().images[:COUNT]):
        levels = np.roll(image, rng.integers(-1, 2), axis=1) * 255 / 16
        noisy = np.clip(levels * 0.9 + rng.normal(0, 6, levels.shape), 0, 255)
        folder = HERE / "unlabelled" / f"camera{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        enlarged = Image.fromarray(np.rint(noisy).astype(np.uint8)).resize((SIZE_PX, SIZE_PX))
        enlarged.save(folder / f"{number:04}.png")


if __name__ == "__main__":
    main()
