"""Small trees in the layouts of the well-known sets: one tiny image, many times."""

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), (200, 100, 50)).save(buffer, format="JPEG")
    return buffer.getvalue()


JPEG = _jpeg()


def put(root: Path, names: Iterable[str]) -> Path:
    """Write an image under each of the names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return root
