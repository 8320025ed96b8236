"""Pictures are stored as one document without code, alike for the same pictures."""

from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.gates import pictures
from tests.pictures import PICTURES


def test_what_is_written_is_read_and_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pictures.write(tmp_path / name, PICTURES)
    assert pictures.read(tmp_path / "a") == PICTURES
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"height":2', b'"height":3'),
        (b'"values":"AP8KFA=="', b'"values":""'),
        (b"madpipe.pictures/1", b"madpipe.pictures/0"),
        (b'"confidence":0.99', b'"confidence":"high"'),
        (b'"image":"', b'"image":"~'),
    ],
)
def test_a_damaged_document_is_refused(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "pictures.json"
    pictures.write(path, PICTURES)
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))
    with pytest.raises(StoreError, match=r"holds no pictures .*; measure again"):
        pictures.read(path)


def test_a_document_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no pictures"):
        pictures.read(tmp_path / "pictures.json")
