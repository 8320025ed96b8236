"""The picture of samples."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.distill import sample_grid


def _saved(path: Path, *, channels: int, count: int, value: float) -> np.ndarray:
    sample_grid.save(path, {"G": torch.full((count, channels, 8, 8), value)})
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def test_grey_and_coloured_images_are_drawn_in_their_own_levels(tmp_path: Path) -> None:
    for channels in (1, 3):
        sheet = _saved(tmp_path / "a.png", channels=channels, count=1, value=0.2)
        assert (sheet == 51).all(axis=2).sum() == 48 * 48


def test_sixteen_images_make_a_row_and_the_next_one_begins_another(tmp_path: Path) -> None:
    one = _saved(tmp_path / "a.png", channels=1, count=16, value=0.5)
    two = _saved(tmp_path / "b.png", channels=1, count=17, value=0.5)
    assert two.shape[0] == one.shape[0] + 52
    assert two.shape[1] == one.shape[1]


def test_a_group_without_images_is_only_its_name(tmp_path: Path) -> None:
    sample_grid.save(
        tmp_path / "a.png", {"G": torch.zeros(1, 1, 8, 8), "EMA": torch.zeros(0, 1, 8, 8)}
    )
    with Image.open(tmp_path / "a.png") as image:
        image.verify()


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        _saved(tmp_path / name, channels=3, count=3, value=0.7)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
