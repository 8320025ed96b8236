"""The worst images of a validation, with what each network answers and where it looks.

Validate leaves them as one JSON document, and the page draws them. Images are encoded PNG or JPEG,
which JSON holds in base64. Light: no numpy.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from pipeline import stored_files
from pipeline.atomic import write_bytes
from pipeline.errors import StoreError
from pipeline.gates.build_records import Count, Share

SCHEMA = "madpipe.pictures/1"


class Answer(Struct, frozen=True, kw_only=True):
    """What one network answers for an image."""

    class_name: str = field(name="class")
    confidence: Share
    """The probability that it gives its answer."""
    is_right: bool
    """Whether that is the label or, without labels, what the teacher answers."""


class WorstImage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image that student or engine get wrong."""

    index: Count
    """Its place among the images that the networks were compared on."""
    label: str | None = None
    """Its class; None without labels."""
    answers: Mapping[str, Answer]
    """By network: teacher, student, and graph or engine where they ran."""


class ActivationMap(Struct, frozen=True, kw_only=True):
    """Where a network looks for its own answer (Grad-CAM), row after row."""

    height: Count
    width: Count
    values: bytes
    """0 where nothing speaks for the answer, 255 where most does."""

    def __post_init__(self) -> None:
        """Refuse a map whose values are not as many as its size says."""
        if not self.values or len(self.values) != self.height * self.width:
            raise ValueError("a map has other values than its size says")


class Picture(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the images, drawn."""

    worst: WorstImage
    image: bytes
    """PNG or JPEG, as the networks see it; a large one is made smaller."""
    maps: Mapping[str, ActivationMap] = {}
    """By network: teacher, student. Of the first pictures only."""


class Pictures(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag=SCHEMA
):
    """What validate leaves of its images."""

    kind: Literal["held-out", "bank"]
    """Real images, or synthetic ones."""
    wrong: Count
    """How many images student or engine get wrong, of which these are the worst."""
    n: Count
    """Of how many images."""
    pictures: tuple[Picture, ...]
    """The worst first."""
    maps_absent: Mapping[str, str] = {}
    """By network: why there are no maps of it."""


def write(path: Path, pictures: Pictures) -> None:
    """Write the document; the same pictures give the same bytes."""
    write_bytes(path, msgspec.json.encode(pictures))


def read(path: Path) -> Pictures:
    """Return the stored document.

    Raises:
        StoreError: It is not there, damaged, or of another schema.
    """
    try:
        return stored_files.decode(stored_files.read_bytes(path), Pictures)
    except (OSError, msgspec.DecodeError) as error:
        wrong = f"holds no pictures ({error})"
        raise StoreError(str(path), wrong, "measure again: madpipe run validate") from error
