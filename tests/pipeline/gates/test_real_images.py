"""What a report says of real images follows from what a distillation recorded."""

from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.gates import real_images
from pipeline.gates.real_images import ImageList, RealImages


@pytest.mark.parametrize(
    ("used", "begins", "has"),
    [
        (RealImages(), "data-free", "synthetic images alone"),
        (RealImages(learned=80, held_back=20, weight=0.5), "not data-free", "learned from 80"),
        (RealImages(held_back=20), "not data-free", "the student learned from none"),
    ],
)
def test_the_statement_follows_from_the_images(used: RealImages, begins: str, has: str) -> None:
    assert used.statement.startswith(begins)
    assert has in used.statement
    assert used.is_data_free == (begins == "data-free")


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    used = RealImages(learned=1, held_back=1, weight=1.0, id="0" * 64)
    images = ImageList(use=used, pixels=("aa", "bb"), names=("1.png", "2.png"))
    real_images.write(tmp_path / "images.json", images)
    assert real_images.read(tmp_path / "images.json") == images


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema": "madpipe.images/9"}'])
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.json").write_bytes(content)
    with pytest.raises(StoreError, match="holds no list of images"):
        real_images.read(tmp_path / "images.json")
