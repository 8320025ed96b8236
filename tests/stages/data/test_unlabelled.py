"""A folder of images without labels: what is taken of it, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipeline.errors import StageError
from stages.data import unlabelled
from stages.data.unlabelled import UnlabelledFiles, load
from stages.unlabelled_images import UnlabelledImages
from tests.stages.tiny import card
from tests.stages.unlabelled_folder import moved_digits, unlabelled_folder


def _load(folder: Path, **changes: Any) -> UnlabelledImages:
    options: dict[str, Any] = {"weight": 1.0, "fewest": 4, **changes}
    return load(folder, card(), **options)


def _learned(images: UnlabelledImages) -> Tensor:
    return images.learned[torch.arange(len(images.learned))]


@pytest.mark.parametrize("kind", ["flat", "deep"])
def test_every_image_below_is_learned_from_or_held_back(tmp_path: Path, kind: str) -> None:
    images = _load(unlabelled_folder(tmp_path / "images", 40, flat=kind == "flat"))
    assert (images.use.learned, images.use.held_back) == (len(images.learned), 8) == (32, 8)
    both_NCHW = torch.cat([_learned(images), images.held_back_NCHW])
    seen = sorted(x.numpy().tobytes() for x in both_NCHW)
    assert seen == sorted(x.tobytes() for x in moved_digits(40))
    assert images.list.pixels == tuple(unlabelled.pixel_digests(both_NCHW))
    assert len(set(images.list.names)) == 40
    assert all((tmp_path / "images" / name).is_file() for name in images.list.names)


def test_the_draw_is_fixed_and_the_identity_that_of_the_pixels(tmp_path: Path) -> None:
    first = _load(unlabelled_folder(tmp_path / "first", 40))
    second = _load(unlabelled_folder(tmp_path / "second", 40))
    assert first.list == second.list
    assert _load(unlabelled_folder(tmp_path / "flat", 40, flat=True)).use == first.use


def test_copies_count_once_and_never_in_both_parts(tmp_path: Path) -> None:
    folder = unlabelled_folder(tmp_path / "images", 20)
    unlabelled_folder(folder / "again", 20)
    notes: list[str] = []
    images = _load(folder, on_note=notes.append)
    assert (images.use.learned, images.use.held_back) == (16, 4)
    assert notes == ["distill.images: 20 of 40 images are copies of others, and count once"]


def test_with_a_weight_of_0_all_are_held_back(tmp_path: Path) -> None:
    images = _load(unlabelled_folder(tmp_path, 20), weight=0.0, fewest=0)
    assert (images.use.learned, images.use.held_back) == (0, 20)


def test_more_than_memory_has_room_for_stay_in_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unlabelled_folder(tmp_path, 20)
    in_memory = _load(folder)
    monkeypatch.setattr(unlabelled, "_MEMORY_BYTES", 0)
    monkeypatch.setattr(unlabelled, "_CHUNK_BYTES", 64 * 7)
    in_files = _load(folder)
    assert isinstance(in_files.learned, UnlabelledFiles)
    assert in_files.list == in_memory.list
    assert torch.equal(_learned(in_files), _learned(in_memory))
    assert torch.equal(in_files.held_back_NCHW, in_memory.held_back_NCHW)


def test_images_are_scaled_and_cropped_as_the_teacher_takes_them(tmp_path: Path) -> None:
    for number in range(10):
        levels_HW = np.zeros((16, 32), np.uint8)
        levels_HW[:, 8:24] = 10 + number
        Image.fromarray(levels_HW).save(tmp_path / f"{number}.png")
    images = _load(tmp_path)
    assert images.held_back_NCHW.shape[1:] == (1, 8, 8)
    assert int(images.held_back_NCHW.min()) >= 10


def _broken(folder: Path) -> None:
    (folder / "a/0000.png").write_bytes(b"no image")
    (folder / "b/c/0001.png").write_bytes(b"")


def _truncated(folder: Path) -> None:
    path = folder / "a/0000.png"
    path.write_bytes(path.read_bytes()[:-30])


def _small(folder: Path) -> None:
    Image.new("L", (1, 40)).save(folder / "a/0000.png")


def _coloured(folder: Path) -> None:
    Image.new("RGB", (8, 8), (200, 0, 0)).save(folder / "a/0000.png")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_broken, r"2 files are no readable images \(.*0000\.png, .*0001\.png\)"),
        (_truncated, r"1 files are no readable images \(.*0000\.png\)"),
        (_small, r"1 images are far smaller than the 8x8 .*\(.*0000\.png: 40x1\)"),
        (_coloured, r"1 files are in colour"),
    ],
)
def test_files_that_cannot_be_used_are_counted_and_named(
    tmp_path: Path, spoil: Any, match: str
) -> None:
    folder = unlabelled_folder(tmp_path, 20)
    spoil(folder)
    with pytest.raises(StageError, match=f"^distill.images: {match}"):
        _load(folder)


def test_fewer_than_a_student_step_takes_are_refused(tmp_path: Path) -> None:
    folder = unlabelled_folder(tmp_path, 10)
    with pytest.raises(StageError, match=r"fewer images than a student step takes \(10, of wh"):
        _load(folder, fewest=9)
    assert _load(folder, fewest=8).use.learned == 8


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").touch()
    with pytest.raises(StageError, match=r"^distill.images: (holds no images|is no folder) \("):
        _load(tmp_path / name)
