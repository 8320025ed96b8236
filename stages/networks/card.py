"""The card of a network: what it is and what images it takes, written into its weights file.

Light: reading a card needs neither torch nor safetensors.
"""

import json
import struct
from pathlib import Path

import msgspec

METADATA_KEY = "madpipe.card"
_HEADER_LIMIT_BYTES = 100 << 20


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A network's architecture and its input. `mean` and `std` are of images in [0, 1]."""

    arch: str
    channels: int
    image_size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Return the number K of classes."""
        return len(self.classes)


def encode(card: Card) -> str:
    """Return the card as one line of JSON, the same for the same card."""
    return msgspec.json.encode(card, order="deterministic").decode()


def metadata(card: Card) -> dict[str, str]:
    """Return the card as the metadata of a weights file."""
    return {METADATA_KEY: encode(card)}


def decode(text: str) -> Card:
    """Return the card that `text` holds.

    Raises:
        msgspec.DecodeError: It holds none.
    """
    return msgspec.json.decode(text, type=Card)


def read(path: Path) -> Card | None:
    """Return the card in the header of a safetensors file, None where there is none."""
    with path.open("rb") as file:
        head = file.read(8)
        if len(head) < 8:  # noqa: PLR2004  (the length field of the format)
            return None
        (length,) = struct.unpack("<Q", head)
        if length > _HEADER_LIMIT_BYTES:
            return None
        try:
            text = json.loads(file.read(length)).get("__metadata__", {}).get(METADATA_KEY)
            return decode(text) if text else None
        except (ValueError, AttributeError, msgspec.DecodeError):
            return None
