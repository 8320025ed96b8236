"""Images in a folder for each class: where they lie, how they are split, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import folder, images, tree
from stages.data.datasets import spec_of
from stages.data.files import ImageFiles
from tests.stages.data.trees import put

Read = tuple[np.ndarray, np.ndarray]
DATA = Data(source="folder", image_size_px=8, mean=(0.5,) * 3, std=(0.5,) * 3)
CIFAR = Data(source="cifar10", image_size_px=8)


def _fill(root: Path, counts: dict[str, int], suffix: str = "png") -> Path:
    """Write images whose grey level encodes their class and number."""
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            level = 100 * label + number
            Image.new("RGB", (10, 8), (level,) * 3).save(root / name / f"{number:02d}.{suffix}")
    return root


def _load(data: Data, root: Path) -> tuple[Read, Read, tuple[str, ...]]:
    """Load a folder and read its files, as NHWC."""
    train, held_out, classes, _ = folder.load(data, spec_of(data), root)
    return _read(train), _read(held_out), classes


def _read(part: images.DatasetPart) -> Read:
    x_NCHW, y_N = part
    assert isinstance(x_NCHW, ImageFiles)
    return x_NCHW[:].permute(0, 2, 3, 1).numpy(), y_N


def test_the_classes_are_the_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"cat": 4, "ant": 4})
    train, held_out, classes = _load(DATA, root)
    assert classes == ("ant", "cat")
    for x_NHWC, y_N in (train, held_out):
        wanted_N = np.where(x_NHWC[:, 0, 0, 0] < 100, 1, 0)
        np.testing.assert_array_equal(y_N, wanted_N)


def test_every_class_is_split_by_the_fraction_and_no_image_is_in_both(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"a": 10, "b": 20})
    (x_train, y_train), (x_held, y_held), _ = _load(DATA, root)
    assert np.bincount(y_held).tolist() == [3, 6]
    assert np.bincount(y_train).tolist() == [7, 14]
    levels = [*x_train[:, 0, 0, 0].tolist(), *x_held[:, 0, 0, 0].tolist()]
    assert sorted(levels) == [*range(10), *range(100, 120)]


def test_the_split_is_always_the_same(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"a": 6, "b": 6})
    one, other = (_load(DATA, root)[1][0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_both_parts_have_an_image_of_each_class_at_any_fraction(
    tmp_path: Path, fraction: float
) -> None:
    data = Data(source="folder", image_size_px=8, held_out_fraction=fraction)
    root = _fill(tmp_path, {"a": 2, "b": 9})
    (_, y_train), (_, y_held), _ = _load(data, root)
    assert set(y_train) == set(y_held) == {0, 1}


def test_images_of_other_kinds_and_in_deeper_folders_count(tmp_path: Path) -> None:
    _fill(tmp_path, {"a/deep": 3, "b": 3}, suffix="JPG")
    (tmp_path / "b" / "notes.txt").write_text("no image", encoding="utf-8")
    (x_train, _), (x_held, _), _ = _load(DATA, tmp_path)
    assert len(x_train) + len(x_held) == 6


def test_the_middle_is_cut_out_after_scaling_the_shorter_side(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            image = Image.new("RGB", (48, 16), "black")
            image.paste((255, 0, 0), (16, 0, 32, 16))
            image.save(tmp_path / name / f"{number}.png")
    (x_train, _), _, _ = _load(DATA, tmp_path)
    assert x_train.shape == (2, 8, 8, 3)
    assert (x_train[0, :, 1:-1] == [255, 0, 0]).all()


def test_one_channel_gives_grey_images(tmp_path: Path) -> None:
    data = Data(source="folder", image_size_px=8, mean=(0.5,), std=(0.5,))
    _fill(tmp_path, {"a": 2, "b": 2})
    loaded = images.load(data, tmp_path)
    assert loaded.train.x_NCHW.shape == (2, 1, 8, 8)


def test_colour_where_one_channel_is_wanted_is_counted_and_named(tmp_path: Path) -> None:
    data = Data(source="folder", image_size_px=8, mean=(0.5,), std=(0.5,))
    _fill(tmp_path, {"a": 3, "b": 3})
    for number in range(3):
        Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "a" / f"{number:02d}.png")
    with pytest.raises(StageError, match=r"files are in colour, and .* one channel \(.*a/0"):
        images.load(data, tmp_path)


def test_a_validation_part_alone_is_read_as_one(tmp_path: Path) -> None:
    _fill(tmp_path / "val", {"a": 3, "b": 3})
    train, held_out, classes, _ = folder.load(DATA, spec_of(DATA), tmp_path)
    assert (len(train[1]), len(held_out[1]), classes) == (0, 6, ("a", "b"))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    root = _fill(tmp_path, {"a": 4, "b": 4})
    (root / "a" / "02.png").write_bytes(content)
    with pytest.raises(StageError, match=r"1 files are no readable images \(.*a/02\.png\)"):
        _load(DATA, root)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"a": 4, "b": 4})
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(root / "b" / "01.png")
    content = (root / "b" / "01.png").read_bytes()
    (root / "b" / "01.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(StageError, match=r"b/01\.png"):
        _load(DATA, root)


def test_one_class_is_refused(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"only": 4})
    with pytest.raises(StageError, match="holds 1 class folders"):
        _load(DATA, root)


def test_a_class_with_one_image_is_refused_by_name(tmp_path: Path) -> None:
    root = _fill(tmp_path, {"a": 4, "b": 1})
    with pytest.raises(StageError, match=r"at least 2 images \(.*b has 1\)"):
        _load(DATA, root)


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder", encoding="utf-8")
    with pytest.raises(StageError, match=r"data\.root"):
        _load(DATA, tmp_path / "data")


@pytest.mark.parametrize("name", ["val", "test", "validation"])
def test_a_folder_with_both_parts_is_split_as_it_is(tmp_path: Path, name: str) -> None:
    _fill(tmp_path / "train", {"ant": 3, "cat": 2})
    _fill(tmp_path / name, {"cat": 1})
    (x_train, y_train), (x_held, y_held), classes = _load(DATA, tmp_path)
    assert classes == ("ant", "cat")
    assert y_train.tolist() == [0, 0, 0, 1, 1]
    assert y_held.tolist() == [1]
    assert (len(x_train), len(x_held)) == (5, 1)


def test_a_class_that_only_the_held_out_part_has_is_refused_by_name(tmp_path: Path) -> None:
    _fill(tmp_path / "train", {"ant": 3, "cat": 2})
    _fill(tmp_path / "val", {"dog": 1})
    with pytest.raises(StageError, match=r"no class of the training part \(dog\)"):
        _load(DATA, tmp_path)


def test_two_classes_of_which_one_is_called_train_are_classes(tmp_path: Path) -> None:
    _fill(tmp_path, {"bus": 3, "train": 3})
    assert _load(DATA, tmp_path)[2] == ("bus", "train")


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_class_folders_are_sorted_and_files_are_none(tmp_path: Path) -> None:
    _touch(tmp_path, "10/a.jpg", "2/a.jpg", "cat/a.jpg", "words.txt")
    assert tree.class_folders(tmp_path) == ["10", "2", "cat"]


def test_only_images_are_listed_at_any_depth(tmp_path: Path) -> None:
    _touch(tmp_path, "b.JPEG", "a/c.png", "boxes.txt", "d.xml")
    assert tree.image_files(tmp_path) == [str(tmp_path / "a/c.png"), str(tmp_path / "b.JPEG")]


def test_a_part_without_images_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "train/a/notes.txt", "val/a/1.png")
    with pytest.raises(StageError, match=r"holds no images \(.*train\)"):
        folder.list_parts(DATA, tmp_path)


def test_without_a_training_part_the_classes_are_those_of_the_other(tmp_path: Path) -> None:
    _touch(tmp_path, "val/b/1.png", "val/a/1.png")
    train, held_out, classes, _ = folder.list_parts(DATA, tmp_path)
    assert train == ([], [])
    assert held_out.labels == [0, 1]
    assert classes == ["a", "b"]


def test_without_a_validation_part_there_is_no_split(tmp_path: Path) -> None:
    _touch(tmp_path, "train/a/1.png")
    with pytest.raises(StageError, match=r"holds no cifar10 \(no val/ in "):
        folder.list_parts(CIFAR, tmp_path)


def test_the_error_of_an_absent_set_says_what_to_put_where() -> None:
    error = folder.absent(CIFAR, Path("sets"), "val/")
    assert str(error).startswith("data.root: holds no cifar10 (no val/ in sets); unpack")


def test_parts_of_a_well_known_set_with_all_classes_are_listed(tmp_path: Path) -> None:
    names = [f"{part}/{number}/1.jpg" for part in ("train", "test") for number in range(10)]
    (_, y_train), (_, y_held), classes, _ = folder.load_parts(
        CIFAR, spec_of(CIFAR), put(tmp_path, names)
    )
    assert y_train.tolist() == y_held.tolist() == list(range(10))
    assert classes == tuple("0123456789")


def test_another_number_of_classes_is_refused_with_both(tmp_path: Path) -> None:
    put(tmp_path, ["train/a/1.jpg", "test/a/1.jpg"])
    with pytest.raises(StageError, match="has 1 classes where cifar10 has 10"):
        folder.load_parts(CIFAR, spec_of(CIFAR), tmp_path)
