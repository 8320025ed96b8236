"""What the tables of settings share: their base, and the bounded types of their fields."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pipeline.image_size import LARGEST_PX, SMALLEST_PX

Count = Annotated[int, Meta(ge=1)]
Weight = Annotated[float, Meta(ge=0.0)]
Rate = Annotated[float, Meta(gt=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Name = Annotated[str, Meta(min_length=1)]
Confidence = Annotated[float, Meta(ge=0.5, lt=1.0)]
Side = Annotated[int, Meta(ge=SMALLEST_PX, le=LARGEST_PX)]
SizeOfImages = Side | Annotated[tuple[Side, ...], Meta(min_length=2, max_length=2)]
"""Both sides in pixels, or height and width; equal ones become one number where they are read."""


class Table(msgspec.Struct, frozen=True):
    """What every table of settings has in common."""
