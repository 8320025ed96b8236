"""The options of preprocessing: what they say, and what contradicts itself."""

from pathlib import Path

import pytest

from pipeline.cli import preprocessing_options
from pipeline.errors import UsageError
from stages.data.datasets import STATISTICS


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\n",
        "1 dog\n0 cat\n",
        '["cat", "dog"]',
        '{"0": "cat", "1": "dog"}',
        '{"dog": 1, "cat": 0}',
        '{"0": ["n01", "cat"], "1": ["n02", "dog"]}',
        '{"id2label": {"0": "cat", "1": "dog"}}',
    ],
)
def test_labels_are_read_in_every_form_that_data_classes_takes(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    assert preprocessing_options.read(labels=tmp_path / "labels").classes == ("cat", "dog")


@pytest.mark.parametrize("text", ["[1, 2", '{"0": "cat", "2": "dog"}', ""])
def test_labels_that_name_no_classes_are_refused_with_their_option(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"^--labels: "):
        preprocessing_options.read(labels=tmp_path / "labels")


def test_the_name_of_a_set_says_mean_and_std() -> None:
    values = preprocessing_options.read(std="imagenet")
    assert (values.mean, values.std) == STATISTICS["imagenet"]


@pytest.mark.parametrize(
    ("text", "size"), [("96", 96), ("96x128", (96, 128)), ("8X1024", (8, 1024)), ("32x32", 32)]
)
def test_an_image_size_is_one_number_or_two(text: str, size: object) -> None:
    assert preprocessing_options.read(image_size=text).image_size_px == size


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("7", r"is outside 8 to 1024 pixels \(7\)"),
        ("96x7", r"is outside 8 to 1024 pixels \(96x7\)"),
        ("1025x96", r"is outside 8 to 1024 pixels"),
        ("96x", r"is no size \(96x\); give pixels: 96, or 96x128 of height and width"),
        ("-96", "is no size"),
        ("96,128", "is no size"),
        ("1x2x3", "is no size"),
    ],
)
def test_other_image_sizes_are_refused_with_their_option(text: str, wrong: str) -> None:
    with pytest.raises(UsageError, match=rf"^--image-size: {wrong}"):
        preprocessing_options.read(image_size=text)


def test_the_shorter_side_is_scaled_to_no_less_than_is_cut_out() -> None:
    assert preprocessing_options.read(image_size="96x128", resize=96).resize_px == 96
    with pytest.raises(UsageError, match=r"^--resize: is less .*\(95; --image-size 96x128\)"):
        preprocessing_options.read(image_size="96x128", resize=95)
