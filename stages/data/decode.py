"""One file as a picture of 8 bits, grey or colour; the only place that decides how.

As torchvision's `ImageFolder` where it is right: the first frame, palettes and CMYK by Pillow's
own conversion, transparency dropped, pixels in the order in which they are stored (a rotation in
EXIF is not applied). Beyond that, 16 bits of grey are scaled to 8 instead of clipped to white.

Shape legend: H W space.
"""

import numpy as np
from PIL import Image, UnidentifiedImageError

_GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"}
_COLOUR_LEVELS = 32
"""Between the channels of a pixel; grey images in JPEG files have a few."""
_BITS_PER_SAMPLE = 258
"""The TIFF tag; cameras leave 12 bits in samples of 16."""
_FULL_RANGE = "convert them to 8 or 16 bits, with black at 0 and white at the highest value"
NO_IMAGE = ("are no readable images", "remove or repair them")


class UndecidedImage(Exception):
    """An image that cannot be used: `wrong` completes "N files ...", `remedy` says what to do."""

    def __init__(self, wrong: str, remedy: str) -> None:
        """Take what is wrong with such files and what to do."""
        super().__init__(wrong, remedy)
        self.wrong = wrong
        self.remedy = remedy


def decode(path: str, channels: int, grey_remedy: str) -> Image.Image:
    """Return the image of a file in mode L for one channel, RGB for three.

    Args:
        path: The file.
        channels: 1 or 3.
        grey_remedy: What to do where it is in colour and one channel is wanted.

    Raises:
        UndecidedImage: It is no image, is in colour where one channel is wanted, or has samples
            whose range it does not name.
    """
    try:
        with Image.open(path) as image:
            image.load()
            grey = _eight_bits(image)
            if channels == 1 and _is_coloured(grey):
                wrong = "are in colour, and the images have one channel"
                raise UndecidedImage(wrong, grey_remedy)
            return grey.convert("L" if channels == 1 else "RGB")
    except Image.DecompressionBombError as error:
        pixels = f"have more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels".replace(",", " ")
        raise UndecidedImage(pixels, "scale them down or remove them") from error
    # What Pillow raises for a file that is no whole image.
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UndecidedImage(*NO_IMAGE) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image whose samples have 8 bits, itself where they have."""
    mode = image.mode
    # Pillow reads PGM, and older ones PNG, of 16 bits into samples of 32.
    if mode.startswith("I;16") or (mode == "I" and image.format in {"PNG", "PPM"}):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        white = (1 << bits) - 1
        levels_HW = np.asarray(image).astype(np.int64)
        return Image.fromarray(((levels_HW * 255 + white // 2) // white).astype(np.uint8))
    if mode == "I":
        raise UndecidedImage("have samples of 32 bits, whose white no one can know", _FULL_RANGE)
    if mode == "F":
        wrong = "have floating-point samples, whose black and white no one can know"
        raise UndecidedImage(wrong, _FULL_RANGE)
    if mode == "LAB":
        raise UndecidedImage("are in CIELAB", "convert them to RGB")
    return image


def _is_coloured(image: Image.Image) -> bool:
    if image.mode in _GREY_MODES:
        return False
    spread_HW = np.ptp(np.asarray(image.convert("RGB")).astype(np.int16), axis=2)
    return bool((spread_HW > _COLOUR_LEVELS).any())
