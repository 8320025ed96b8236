"""How an image becomes what a network takes, and who said so: one record for all that reads images.

Written into weights files, ONNX files and manifests; `stages.data.pixels` carries it out. Light.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from pipeline.image_size import ImageSize, compact, sides_px, size_text

Interpolation = Literal["bilinear", "bicubic"]
LARGEST_MEAN = 1
LARGEST_STD = 10
"""Above these, statistics are of bytes, and not of images in [0, 1]."""
_NAMES = 4
OriginKind = Literal["option", "settings", "hub", "file", "assumed"]


class Origin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the value of a field comes from."""

    kind: OriginKind
    """hub: recorded with weights by name; assumed: nobody said it, and it is usual for `reason`."""
    reason: str = ""
    """What it was read from, or why it was assumed."""


class Preprocessing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From an image in a file to the input of a network.

    The image is brought to its channels (1: grey, 3: RGB, 4: RGBA, any: an array), scaled until
    the smaller of the sides that are cut out would measure `resize_px`, and the middle is cut out.
    Networks take that as floats in [0, 1] and normalise them by `mean` and `std` themselves.
    """

    channels: int
    image_size_px: int
    """Height that is cut out, and width where `width_px` says no other."""
    mean: tuple[float, ...]
    """Of each channel, of images in [0, 1]; empty: not known, since the graph holds them."""
    std: tuple[float, ...]
    classes: tuple[str, ...]
    width_px: int | None = None
    resize_px: int | None = None
    """What the smaller side that is cut out is scaled to before; None: as much as is cut out."""
    interpolation: Interpolation = "bilinear"
    """How Pillow scales, as torchvision's transforms do it, with antialiasing."""
    origins: Mapping[str, Origin] = {}
    """Field -> where it comes from; fields that are not here were said or measured by madpipe."""

    @property
    def num_classes(self) -> int:
        """Return the number K of classes."""
        return len(self.classes)

    @property
    def size_px(self) -> tuple[int, int]:
        """Return height and width that are cut out."""
        return self.image_size_px, self.width_px or self.image_size_px

    @property
    def image_size(self) -> ImageSize:
        """Return the same as settings and options say it: one number for both sides that agree."""
        return compact(self.size_px)

    @property
    def scaling(self) -> str:
        """Return how images are scaled before the middle is cut out, as part of a sentence."""
        height, width = self.size_px
        smaller = min(height, width)
        to_px = self.resize_px or smaller
        if height == width:
            return f"shorter side to {to_px} ({self.interpolation})"
        covered = f"{height * to_px // smaller} x {width * to_px // smaller}"
        return f"scaled to cover {covered} ({self.interpolation})"

    @property
    def assumed(self) -> tuple[str, ...]:
        """Return the names of the fields that nobody said."""
        return tuple(name for name, origin in self.origins.items() if origin.kind == "assumed")

    def assumptions(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """Return a line for each reason to assume what nobody said, with what was assumed.

        `options` has for each field the name of the option or setting that says it.
        """
        values: dict[str, list[str]] = {}
        for name in self.assumed:
            text = f"{options.get(name, name)} {self._text(name)}"
            values.setdefault(self.origins[name].reason, []).append(text)
        return tuple(
            f"assumed {', '.join(texts)} ({reason}); give what differs"
            for reason, texts in values.items()
        )

    def _text(self, name: str) -> str:
        """Return the value of a field as an option takes it; of many names only some."""
        value = getattr(self, name)
        if name == "image_size_px":
            return size_text(self.image_size)
        if name == "resize_px":
            return str(value or min(self.size_px))
        if not isinstance(value, tuple):
            return str(value)
        entries = [f"{entry:.4g}" if isinstance(entry, float) else entry for entry in value]
        if len(entries) > _NAMES:
            entries = [*entries[: _NAMES - 1], "...", entries[-1]]
        return ",".join(entries) or "unknown"


def size_fields(size: ImageSize) -> dict[str, Any]:
    """Return the fields of `Preprocessing` that hold a height and a width."""
    height, width = sides_px(size)
    return {"image_size_px": height, "width_px": None if width == height else width}
