"""Files that describe far more than they hold are refused before they are unpacked."""

import zipfile
from pathlib import Path

import pytest

from pipeline import declared_bytes
from pipeline.errors import StageError


def _zeros(path: Path, size: int) -> Path:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x", "w") as file,
    ):
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return path


def test_an_archive_of_a_thousand_times_its_bytes_is_refused(tmp_path: Path) -> None:
    path = _zeros(tmp_path / "a.zip", 300 << 20)
    with pytest.raises(StageError, match=r"^here: describes far more than it holds .*0\.293 GiB"):
        declared_bytes.check_archive(path, path, "here", "copy it again")
    with pytest.raises(StageError, match=r"^here: describes far more than it holds"):
        declared_bytes.check_archive(path.read_bytes(), path, "here", "copy it again")


def test_small_archives_and_what_is_no_archive_pass(tmp_path: Path) -> None:
    path = _zeros(tmp_path / "a.zip", 2 << 20)
    declared_bytes.check_archive(path, path, "here", "copy it again")
    declared_bytes.check_archive(b"no archive", path, "here", "copy it again")


@pytest.mark.parametrize(
    ("declared", "stored", "is_too_much"),
    [(1 << 28, 0, False), ((1 << 28) + 1, 0, True), (1 << 40, 1 << 34, False)],
)
def test_what_counts_is_both_the_size_and_its_ratio(
    declared: int, stored: int, *, is_too_much: bool
) -> None:
    assert declared_bytes.is_excessive(declared, stored) == is_too_much
