"""Tests of pipeline.cli.preprocessing_options."""

import pytest

from pipeline.cli import preprocessing_options
from pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mean": "123.7,116.3,103.5", "std": "58.4,57.1,57.4"},
            r"--mean: is of no images in \[0, 1\] \(123\.7",
        ),
        ({"mean": "0,0,0", "std": "255"}, r"--std: is of no images in \[0, 1\] \(255\)"),
        ({"mean": "imagnet"}, r"--mean: is neither numbers nor a name \(imagnet\)"),
        ({"mean": "0.5"}, r"--std: is needed with --mean"),
    ],
)
def test_statistics_that_are_of_no_images_in_0_to_1_are_refused(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        preprocessing_options.read(**options)  # type: ignore[arg-type]


def test_no_more_is_cut_out_than_the_scaled_image_has() -> None:
    with pytest.raises(UsageError, match=r"--resize: is less than is cut out \(112; .* 128\)"):
        preprocessing_options.read(image_size=128, resize=112)
    assert preprocessing_options.read(image_size=112, resize=112).resize_px == 112
