"""Which real images a distillation used besides the teacher's weights: the fact behind "data-free".

Distill records it; weights files, ONNX files, manifests and reports carry it on. Light.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pipeline import stored_files
from pipeline.atomic import write_bytes
from pipeline.errors import StoreError

SCHEMA = "madpipe.images/1"
_Count = Annotated[int, Meta(ge=0)]
_Sha256 = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]


class RealImages(Struct, frozen=True, kw_only=True):
    """Real images without labels that a distillation used; without any it was data-free."""

    learned: _Count = 0
    """Images that the student learned from."""
    held_back: _Count = 0
    """Images that it did not learn from, for calibration and the agreement check."""
    weight: float = 0.0
    """Of the images in the student's loss: distill.lambda2."""
    id: _Sha256 | None = None
    """Over the pixels of all of them; None where there are none."""

    @property
    def is_data_free(self) -> bool:
        """Whether the student was made of the teacher's weights alone."""
        return self.learned + self.held_back == 0

    @property
    def statement(self) -> str:
        """Return what every form of a report says of it, a sentence without its full stop."""
        if self.is_data_free:
            return "data-free: distilled from the teacher's weights and synthetic images alone"
        if not self.learned:
            return (
                f"not data-free: {self.held_back} unlabelled images served for calibration and the "
                "agreement check; the student learned from none"
            )
        return (
            f"not data-free: the student learned from {self.learned} unlabelled images too (weight "
            f"{self.weight:g} in its loss), and {self.held_back} more were held back for "
            "calibration and the agreement check"
        )


class ImageList(Struct, frozen=True, kw_only=True, tag_field="schema", tag=SCHEMA):
    """The images that a distillation used, as it leaves them beside the student."""

    use: RealImages
    pixels: tuple[str, ...]
    """A digest of the pixels of each, as the teacher takes them."""
    names: tuple[str, ...]
    """The file of each, relative to the folder."""


def write(path: Path, images: ImageList) -> None:
    """Write a list as JSON."""
    write_bytes(path, msgspec.json.encode(images))


def read(path: Path) -> ImageList:
    """Return a stored list.

    Raises:
        StoreError: It is not there, damaged, or of another schema.
    """
    try:
        return stored_files.decode(stored_files.read_bytes(path), ImageList)
    except (OSError, msgspec.DecodeError) as error:
        wrong = f"holds no list of images ({error})"
        remedy = "distil again: madpipe run distill --force distill"
        raise StoreError(str(path), wrong, remedy) from error
