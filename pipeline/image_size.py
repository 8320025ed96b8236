"""Height and width of images: one number where both are the same, as settings and options say it.

Light: networks, settings and stages use it.
"""

SMALLEST_PX = 8
LARGEST_PX = 1024
"""Sides of images that generators are made for."""
MOST_CHANNELS = 16
"""Of an image."""
ImageSize = int | tuple[int, ...]
"""Both sides in pixels, or height and width: as settings hold it."""


def sides_px(size: ImageSize) -> tuple[int, int]:
    """Return height and width in pixels."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def compact(size: ImageSize) -> ImageSize:
    """Return a size as one number where height and width are the same."""
    height, width = sides_px(size)
    return height if height == width else (height, width)


def size_text(size: ImageSize) -> str:
    """Return a size as an option takes it: `96`, or `96x128` of height and width."""
    return "x".join(map(str, dict.fromkeys(sides_px(size))))


def setting_text(size: ImageSize) -> str:
    """Return a size as a settings file has it: `96`, or `[96, 128]` of height and width."""
    height, width = sides_px(size)
    return str(height) if height == width else f"[{height}, {width}]"
