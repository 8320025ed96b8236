"""The kinds of value that several tables of settings share.

A bound lives in the kind; the sentence that documents a field stands below the field.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Weight = Annotated[float, Meta(ge=0.0)]
Rate = Annotated[float, Meta(gt=0.0)]
Name = Annotated[str, Meta(min_length=1)]
Confidence = Annotated[float, Meta(ge=0.5, lt=1.0)]


class Table(msgspec.Struct, frozen=True):
    """What every table of settings has in common."""
