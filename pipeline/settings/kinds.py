"""What the tables of settings share: their base, and the bounded types of their fields."""

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Weight = Annotated[float, Meta(ge=0.0)]
Rate = Annotated[float, Meta(gt=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Name = Annotated[str, Meta(min_length=1)]
Confidence = Annotated[float, Meta(ge=0.5, lt=1.0)]


class Table(msgspec.Struct, frozen=True):
    """What every table of settings has in common."""
