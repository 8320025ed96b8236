"""The card of a network: what it is and what images it takes, written into its weights file."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

METADATA_KEY = "madpipe.card"


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


def metadata(card: Card) -> dict[str, str]:
    """Return the card as the metadata of a weights file: one line of JSON, always the same."""
    return {METADATA_KEY: msgspec.json.encode(card, order="deterministic").decode()}


def from_metadata(texts: Mapping[str, str]) -> Card | None:
    """Return the card among the metadata of a file, None where there is none.

    Raises:
        msgspec.DecodeError: It is no card.
    """
    text = texts.get(METADATA_KEY)
    return msgspec.json.decode(text, type=Card) if text is not None else None


def read(path: Path) -> Card | None:
    """Return the card in the header of a safetensors file.

    None where there is none, and for files of other kinds; `weights.read` says what is wrong
    with a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return from_metadata(file.metadata() or {})
    except (OSError, SafetensorError, msgspec.DecodeError):
        return None
