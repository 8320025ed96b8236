"""Thumbnails are lossless where they are small, and never larger than they may be."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.validate import thumbnails

RANDOM = np.random.default_rng(0)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB"), (6, "RGB")]
)
def test_a_small_image_keeps_its_pixels(channels: int, mode: str) -> None:
    x_CHW = RANDOM.integers(0, 256, (channels, 9, 12), dtype=np.uint8)
    image = opened(thumbnails.encode(x_CHW, 10_000))
    assert (image.format, image.mode, image.size) == ("PNG", mode, (12, 9))
    drawn = x_CHW[:3].transpose(1, 2, 0) if mode == "RGB" else x_CHW[0]
    np.testing.assert_array_equal(np.asarray(image), drawn)


@pytest.mark.parametrize("most_bytes", [30_000, 8_000, 1_500])
def test_noise_which_nothing_compresses_fits_all_the_same(most_bytes: int) -> None:
    x_CHW = RANDOM.integers(0, 256, (3, 300, 400), dtype=np.uint8)
    content = thumbnails.encode(x_CHW, most_bytes)
    assert len(content) <= most_bytes
    image = opened(content)
    assert image.format == "JPEG"
    assert max(image.size) <= thumbnails.LARGEST_PX
    assert image.width / image.height == pytest.approx(4 / 3, rel=0.05)
    assert thumbnails.encode(x_CHW, most_bytes) == content


def test_what_no_size_fits_is_one_pixel() -> None:
    x_CHW = RANDOM.integers(0, 256, (1, 64, 64), dtype=np.uint8)
    assert opened(thumbnails.encode(x_CHW, 1)).size == (1, 1)
