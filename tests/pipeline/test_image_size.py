"""Sizes of images: one number where height and width agree."""

import pytest

from pipeline.image_size import ImageSize, compact, setting_text, sides_px, size_text


@pytest.mark.parametrize(
    ("size", "sides", "option", "setting"),
    [
        (96, (96, 96), "96", "96"),
        ((96, 96), (96, 96), "96", "96"),
        ((96, 128), (96, 128), "96x128", "[96, 128]"),
    ],
)
def test_a_size_is_the_same_in_every_form(
    size: ImageSize, sides: tuple[int, int], option: str, setting: str
) -> None:
    assert sides_px(size) == sides
    assert sides_px(compact(size)) == sides
    assert (size_text(size), setting_text(size)) == (option, setting)
