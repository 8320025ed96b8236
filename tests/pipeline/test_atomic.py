"""A file is written whole or not at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.atomic import (
    copy,
    make_folders,
    replace_folder,
    scratch_folder,
    sync,
    write_bytes,
    write_lasting,
)


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    write_bytes(tmp_path / "f", b"one")
    write_bytes(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    descriptor = os.open(tmp_path / "p", os.O_RDWR)
    write_bytes(tmp_path / "p", b"one")
    assert os.read(descriptor, 3) == b"one"
    os.close(descriptor)
    assert (tmp_path / "p").is_fifo()


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_bytes(tmp_path / "no" / "f", b"one")
    assert caught.value.filename == str(tmp_path / "no" / "f")


def test_full_disk_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from pipeline.atomic import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_bytes(Path(sys.argv[1]), bytes(100_000))"
    )
    (tmp_path / "f").write_bytes(b"before")
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert f"OSError: [Errno 27] File too large: '{tmp_path}/f'" in answer.stderr
    assert (tmp_path / "f").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_folder_can_be_made_durable(tmp_path: Path) -> None:
    sync(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        sync(tmp_path / "gone")


def test_a_failed_rename_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_bytes(tmp_path / "f", b"one")
    assert caught.value.filename == str(tmp_path / "f")
    assert caught.value.filename2 is None
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file here that is always full")
def test_a_failed_copy_names_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    with pytest.raises(OSError, match="No space left") as caught:
        copy(tmp_path / "f", Path("/dev/full"))
    assert caught.value.filename == "/dev/full"
    with pytest.raises(FileNotFoundError) as caught:
        copy(tmp_path / "g", tmp_path / "h")
    assert caught.value.filename == str(tmp_path / "g")


def test_a_folder_that_cannot_be_replaced_is_there_again(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "f").write_bytes(b"before")
    with pytest.raises(FileNotFoundError) as caught:
        replace_folder(tmp_path / "no", tmp_path / "old", aside=tmp_path / "aside")
    assert caught.value.filename == str(tmp_path / "old")
    assert (tmp_path / "old" / "f").read_bytes() == b"before"
    (tmp_path / "new").mkdir()
    replace_folder(tmp_path / "new", tmp_path / "old", aside=tmp_path / "aside")
    assert list((tmp_path / "old").iterdir()) == []


def test_a_scratch_folder_is_removed_also_after_a_failure(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "f").write_bytes(b"one")
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path) as folder:
        (folder / "f").write_bytes(bytes(1 // len([*folder.glob("*/*")])))
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_cannot_be_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error", "f")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(OSError, match="Input/output") as caught, scratch_folder(tmp_path) as folder:
        pass
    assert caught.value.filename == str(folder)


def test_an_interrupted_write_leaves_nothing_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "f").write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "f", b"after")
    assert (tmp_path / "f").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes whose bytes or names were made durable."""
    inodes: list[int] = []

    def fsync(descriptor: int) -> None:
        inodes.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    return inodes


def test_file_that_lasts_has_a_durable_name(tmp_path: Path, synced: list[int]) -> None:
    write_lasting(tmp_path / "f", b"one")
    assert synced == [(tmp_path / "f").stat().st_ino, tmp_path.stat().st_ino]


def test_folders_that_are_made_have_durable_names(tmp_path: Path, synced: list[int]) -> None:
    make_folders(tmp_path / "a" / "b")
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
    make_folders(tmp_path / "a" / "b")
    assert len(synced) == 2, "they were there"


def test_two_processes_of_one_number_do_not_write_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(Path, "replace", lambda part, _: names.append(part.name))
    write_bytes(tmp_path / "f", b"one")
    write_bytes(tmp_path / "f", b"two")
    assert len(set(names)) == 2
