"""What the headers of image files say that reading does not follow: rotation and transparency.

torchvision follows neither, so a teacher that was trained with it has seen images so.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from stages.data.decode import MODES, formats, has_alpha
from stages.data.tree import some

_FILES = 128
"""Enough to see what a whole folder has."""
_DRAW_SEED = 0
_ORIENTATION = 0x0112
_UPRIGHT = (0, 1)
_WITH_EXIF = {"JPEG", "MPO", "TIFF", "WEBP"}
"""Formats whose EXIF stands in the header; Pillow decodes others to look for it."""


def notes(paths: Sequence[str], channels: int) -> tuple[str, ...]:
    """Return a line for what a fixed draw of the files has and reading leaves aside.

    Of images of four channels transparency is one of them.
    """
    count = min(_FILES, len(paths))
    draw = np.random.default_rng(_DRAW_SEED).permutation(len(paths))[:count]
    rotated, transparent = [], []
    for path in (paths[i] for i in sorted(draw)):
        try:
            with Image.open(path, formats=formats()) as image:
                if image.format in _WITH_EXIF:
                    orientation = image.getexif().get(_ORIENTATION, 1)
                    rotated += [path] * (orientation not in _UPRIGHT)
                transparent += [path] * (has_alpha(image) and MODES.get(channels) != "RGBA")
        except Exception:  # noqa: BLE001, S112  (what is wrong with a file is said where it is read)
            continue
    lines = (
        (rotated, "a rotation in EXIF, which is not applied"),
        (transparent, "transparency, which is dropped"),
    )
    return tuple(
        f"{len(files)} of {count} images looked at have {what}, as torchvision does it "
        f"({some(files)})"
        for files, what in lines
        if files
    )
