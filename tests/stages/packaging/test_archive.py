"""Packages as folders and archives: whole, the same for the same files, and never outside."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from stages.packaging import archive

FORMS = ["p", "p.zip", "p.tar.gz"]

FILES = {"manifest.json": b"two\n", "labels.txt": b"one\n", "b/1/model": b"\0" * 5000}


def _read(out: Path) -> dict[str, bytes]:
    if out.is_dir():
        paths = [path for path in out.rglob("*") if path.is_file()]
        return {str(path.relative_to(out)): path.read_bytes() for path in paths}
    if out.suffix == ".zip":
        with zipfile.ZipFile(out) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    with tarfile.open(out) as opened_tar:
        contents = {}
        for name in opened_tar.getnames():
            member = opened_tar.extractfile(name)
            assert member is not None
            contents[name] = member.read()
        return contents


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_files(tmp_path: Path, form: str) -> None:
    archive.write(FILES, tmp_path / "out" / form, overwrite=False)
    assert _read(tmp_path / "out" / form) == FILES
    assert [path.name for path in (tmp_path / "out").iterdir()] == [form]


@pytest.mark.parametrize("form", FORMS[1:])
def test_the_same_files_give_the_same_bytes_in_any_order(tmp_path: Path, form: str) -> None:
    archive.write(FILES, tmp_path / "one" / form, overwrite=False)
    turned = dict(reversed(FILES.items()))
    archive.write(turned, tmp_path / "two" / form, overwrite=False)
    assert (tmp_path / "one" / form).read_bytes() == (tmp_path / "two" / form).read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_only_replaced_when_asked_for(tmp_path: Path, form: str) -> None:
    out = tmp_path / "out" / form
    archive.write(FILES, out, overwrite=False)
    before = _read(out)
    with pytest.raises(UsageError, match=r"^--out: is already there .*; give --overwrite"):
        archive.write({"other": b""}, out, overwrite=False)
    assert _read(out) == before
    archive.write({"other": b""}, out, overwrite=True)
    assert _read(out) == {"other": b""}


def test_a_folder_of_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(UsageError, match=r"a folder with other files than a package's"):
        archive.write(FILES, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "mine.jpg").exists()


@pytest.mark.parametrize("name", ["p.rar", "p.tar", "p.tar.xz"])
def test_an_unknown_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"no form of a package .*\.zip or \.tar\.gz"):
        archive.write(FILES, tmp_path / name, overwrite=False)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    archive.write(FILES, tmp_path / "out", overwrite=False)
    assert len(_read(tmp_path / "out")) == 3


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x"])
def test_no_name_leads_out_of_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="leads out of it"):
        archive.write({"a": b"", name: b""}, tmp_path / "out", overwrite=True)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_replaced_by_an_archive_nor_the_other_way(tmp_path: Path) -> None:
    (tmp_path / "p.zip").mkdir()
    (tmp_path / "p").touch()
    for name in ("p.zip", "p"):
        with pytest.raises(UsageError, match=r"of that name .*; give another --out"):
            archive.write({"a": b""}, tmp_path / name, overwrite=True)


def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    archive.write(FILES, out, overwrite=False)
    with pytest.raises(FileExistsError) as caught:
        archive.write({"a": b"2", "a/b": b"a file is no folder"}, out, overwrite=True)
    assert _read(out) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert caught.value.filename == str(out / "a/b")


def test_a_package_that_cannot_be_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write(FILES, tmp_path / "p", overwrite=False)
    rename = Path.rename

    def fail(source: Path, target: Path) -> Path:
        if target == tmp_path / "p" and "replaced" not in source.name:
            raise OSError(13, "Permission denied")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        archive.write(FILES, tmp_path / "p", overwrite=True)
    assert _read(tmp_path / "p") == dict(FILES)
    assert list(tmp_path.iterdir()) == [tmp_path / "p"]
