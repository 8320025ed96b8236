"""One file as a picture of 8 bits, grey or colour, or as an array; the only place that decides how.

As torchvision's `ImageFolder` where it is right: the first frame, palettes and CMYK by Pillow's
own conversion, transparency dropped, pixels in the order in which they are stored (a rotation in
EXIF is not applied). Beyond that, 16 bits of grey are scaled to 8 instead of clipped to white.
Images of any number of channels may be arrays of uint8, as `numpy.save` writes them.

Shape legend: H W space, C channel.
"""

import functools

import numpy as np
from PIL import Image

_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
_GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L"}
_COLOUR_LEVELS = 32
"""Between the channels of a pixel; grey images in JPEG files have a few."""
_BITS_PER_SAMPLE = 258
"""The TIFF tag; cameras leave 12 bits in samples of 16."""
_FULL_RANGE = "convert them to 8 or 16 bits, with black at 0 and white at the highest value"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Channels -> what Pillow calls a picture of so many."""
ARRAYS = ".npy"
_DIMENSIONS = 3
_STRIP_PIXELS = 1 << 20
_WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
NO_IMAGE = ("are no readable images", "remove or repair them")


class UndecidedImage(Exception):
    """An image that cannot be used: `wrong` completes "N files ...", `remedy` says what to do."""

    def __init__(self, wrong: str, remedy: str) -> None:
        """Take what is wrong with such files and what to do."""
        super().__init__(wrong, remedy)
        self.wrong = wrong
        self.remedy = remedy


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the formats that files are read in, whatever their names end in.

    Pillow knows more. It gives PostScript, for one, to Ghostscript, a program that runs it.
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def decode(path: str, channels: int, grey_remedy: str) -> Image.Image | np.ndarray:
    """Return the picture of a file in mode L, RGB or RGBA, or its array of uint8 and shape HWC.

    Args:
        path: The file.
        channels: 1, 3 or 4; any number where the file is an array.
        grey_remedy: What to do where it is in colour and one channel is wanted.

    Raises:
        UndecidedImage: It is no image, has other channels than are wanted, or has samples whose
            range it does not name.
    """
    if str(path).lower().endswith(ARRAYS):
        return _array(path, channels)
    if channels not in MODES:
        wrong = f"are pictures, which do not have {channels} channels"
        raise UndecidedImage(wrong, _form_of_arrays(channels))
    try:
        with Image.open(path, formats=formats()) as image:
            image.load()
            return _picture(image, channels, grey_remedy)
    except UndecidedImage:
        raise
    except Image.DecompressionBombError as error:
        pixels = f"have more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels".replace(",", " ")
        raise UndecidedImage(pixels, "scale them down or remove them") from error
    except Exception as error:  # its readers raise many classes for a file that is no whole image
        raise UndecidedImage(*NO_IMAGE) from error


def _picture(image: Image.Image, channels: int, grey_remedy: str) -> Image.Image:
    """Return an image of so many channels of 8 bits; errors as `decode`."""
    grey = _eight_bits(image)
    if channels == 1 and _is_coloured(grey):
        wrong = "are in colour, and the images have one channel"
        raise UndecidedImage(wrong, grey_remedy)
    if MODES[channels] == "RGBA" and not has_alpha(image):
        wrong = "have no transparency, and the images have four channels"
        raise UndecidedImage(wrong, "save them as RGBA, or as .npy with four channels")
    # A large picture is not copied to become what it is.
    return grey if grey.mode == MODES[channels] else grey.convert(MODES[channels])


def has_alpha(image: Image.Image) -> bool:
    """Return whether a picture says how transparent its pixels are."""
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def _array(path: str, channels: int) -> np.ndarray:
    """Return the array of a file, which is never unpickled."""
    remedy = _form_of_arrays(channels)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of many classes, by what of its header cannot be
        raise UndecidedImage("are no readable arrays", remedy) from error
    if not isinstance(stored, np.ndarray) or stored.dtype != np.uint8 or stored.ndim != _DIMENSIONS:
        raise UndecidedImage("are no arrays of uint8 with height, width and channels", remedy)
    if stored.shape[2] != channels or not stored.size:
        raise UndecidedImage(f"are arrays of shape {stored.shape}", remedy)
    if stored.shape[0] * stored.shape[1] > 2 * (Image.MAX_IMAGE_PIXELS or stored.size):
        raise UndecidedImage("are arrays of too many pixels", "scale them down or remove them")
    return np.array(stored)


def _form_of_arrays(channels: int) -> str:
    return f"save images as .npy, uint8 of shape (height, width, {channels})"


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image whose samples have 8 bits, itself where they have."""
    mode = image.mode
    # Pillow reads PGM, and older ones PNG, of 16 bits into samples of 32.
    if mode.startswith("I;16") or (mode == "I" and image.format in {"PNG", "PPM"}):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        white = (1 << bits) - 1
        levels_HW = np.asarray(image)
        scaled_HW = np.empty(levels_HW.shape, np.uint8)
        for rows in _strips(*levels_HW.shape):
            scaled_HW[rows] = (levels_HW[rows].astype(np.int64) * 255 + white // 2) // white
        return Image.fromarray(scaled_HW)
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
    width, height = image.size
    for rows in _strips(height, width):
        strip = image.crop((0, rows.start, width, min(rows.stop, height))).convert("RGB")
        red_HW, green_HW, blue_HW = np.moveaxis(np.asarray(strip), 2, 0)
        highest_HW = np.maximum(np.maximum(red_HW, green_HW), blue_HW)
        lowest_HW = np.minimum(np.minimum(red_HW, green_HW), blue_HW)
        if (highest_HW - lowest_HW > _COLOUR_LEVELS).any():
            return True
    return False


def _strips(height: int, width: int) -> list[slice]:
    """Return the rows of an image, so many at a time that work on them takes little memory."""
    count = max(1, _STRIP_PIXELS // max(1, width))
    return [slice(first, first + count) for first in range(0, height, count)]
