"""What of a tree of files is a class or an image, and what is named as left out."""

import os
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from pipeline.errors import StageError
from pipeline.settings import Data
from stages.data import folder, images, tree
from stages.data.datasets import spec_of
from stages.data.tree import LeftOut
from tests.stages.data.trees import put

DATA = Data(source="folder", image_size_px=8)


def _notes(root: Path) -> tuple[str, ...]:
    return images.load(DATA, root).notes


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".git", "@eaDir", "@Recycle", "__MACOSX"])
def test_hidden_folders_are_no_classes_and_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path, [f"{c}/{i}.jpg" for c in ("a", "b", name) for i in range(3)])
    assert images.load(DATA, tmp_path).train.classes == ("a", "b")
    assert _notes(tmp_path) == (f"hidden folders are left out ({name})",)


def test_hidden_files_are_no_images_and_are_counted(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{i}.jpg" for c in "ab" for i in range(3)])
    for name in ("a/._0.jpg", "b/.DS_Store", "b/Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    assert _notes(tmp_path) == ("1 hidden files are left out (._0.jpg)",)


def test_files_that_torchvision_leaves_out_are_counted_by_suffix(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{i}.jpg" for c in "ab" for i in range(3)])
    put(tmp_path, ["a/x.gif", "a/y.gif", "b/z.JFIF"])
    (note,) = _notes(tmp_path)
    assert note.startswith("3 files with other suffixes are left out")
    assert "(.gif 2, .jfif 1)" in note
    put(tmp_path, ["c/x.jfif"])
    with pytest.raises(StageError, match=r"c has 0; 4 files with other suffixes .*\.jfif 2"):
        images.load(DATA, tmp_path)


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{i}.jpg" for c in "ab" for i in range(3)])
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    assert len(tree.image_files(tmp_path / "a")) == 3


def test_the_current_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(put(tmp_path, ["a.jpg"]))
    assert len(tree.image_files(Path())) == 1


def test_images_in_no_class_and_classes_without_images_are_noted(tmp_path: Path) -> None:
    put(tmp_path, [f"train/{c}/0.jpg" for c in "abc"])
    put(tmp_path, ["val/a/0.jpg", "val/b/0.jpg", "train/loose.jpg"])
    (tmp_path / "val" / "c").mkdir()
    assert _notes(tmp_path) == (
        f"1 images in no class folder are left out ({tmp_path / 'train' / 'loose.jpg'})",
        f"class folders without images ({tmp_path / 'val' / 'c'})",
    )


def test_a_folder_around_the_class_folders_is_named(tmp_path: Path) -> None:
    put(tmp_path, [f"images/{c}/{i}.jpg" for c in "ab" for i in range(2)])
    with pytest.raises(StageError, match=r"holds 1 class folders .*; set it to .*images where"):
        images.load(DATA, tmp_path)


def test_linked_folders_are_followed_and_those_around_themselves_end(tmp_path: Path) -> None:
    root = put(tmp_path / "set", ["a/0.jpg", "a/deep/1.webp", "a/deep/2.TIF", "a/3.ppm", "a/n.txt"])
    put(tmp_path / "real", ["4.bmp", "5.jpg"])
    (root / "a" / "linked").symlink_to(tmp_path / "real")
    (root / "b").symlink_to(tmp_path / "real")
    names = tree.class_folders(root)
    paths = [path for name in names for path in tree.image_files(root / name)]
    assert paths == [path for path, _ in ImageFolder(str(root)).samples]
    (root / "a" / "again").symlink_to(root / "a")
    (root / "a" / "back").symlink_to(root)
    assert len(tree.image_files(root / "a", LeftOut())) == 6


def test_class_names_that_are_not_text_are_written_out(tmp_path: Path) -> None:
    name = b"d\xe4te".decode("utf-8", "surrogateescape")
    put(tmp_path, [f"{c}/{i}.jpg" for c in ("a", name) for i in range(3)])
    assert images.load(DATA, tmp_path).train.classes == ("a", r"d\xe4te")


def test_class_names_fit_into_a_line(tmp_path: Path) -> None:
    names = ['a "b", <c>|', "bell\x07", "new\nline", "\u2028"]
    put(tmp_path, [f"{c}/{i}.jpg" for c in names for i in range(3)])
    classes = images.load(DATA, tmp_path).train.classes
    assert classes == ('a "b", <c>|', r"bell\x07", r"new\nline", r"\u2028")


def test_names_in_another_form_of_unicode_are_the_same_class(tmp_path: Path) -> None:
    put(tmp_path, ["train/caf\u00e9/0.jpg", "train/b/0.jpg", "val/cafe\u0301/0.jpg", "val/b/0.jpg"])
    train, held_out, classes, _ = folder.load(DATA, spec_of(DATA), tmp_path)
    assert classes == ("b", "caf\u00e9")
    assert train.y_N.tolist() == held_out.y_N.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("cats/1.PNG", (True, True, True)),
        ("cats/1.npy", (True, True, True)),
        ("cats/", (True, True, True)),
        ("labels.csv", (False, True, True)),
        ("notes.docx", (False, False, True)),
        (".gitignore", (False, False, False)),
        ("cats/.ipynb_checkpoints/", (False, False, False)),
        ("cats/Thumbs.db", (False, False, False)),
        ("cats/._1.png", (False, False, False)),
    ],
)
def test_only_what_a_reader_takes_counts_in_a_key(path: str, counts: tuple[bool, ...]) -> None:
    assert (tree.may_be_image(path), tree.may_be_labelled(path), tree.is_seen(path)) == counts
