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
