"""What lies outside the store counts by its bytes, and is read again whenever it may be others."""

import os
import time
from pathlib import Path

import pytest

from pipeline.cache import externals
from pipeline.cache.digests import DigestCache
from pipeline.cache.externals import external_digest, file_sha256
from pipeline.errors import SettingsFault, StageError
from pipeline.stage import External


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was written a moment ago count as settled: this file system's clock is fine."""
    monkeypatch.setattr(externals, "_COARSEST_TIME_NS", 0)


def rewrite(path: Path, content: bytes) -> None:
    """Write other bytes and put the time of the file back."""
    time.sleep(0.02)  # more than a tick of the file system's clock
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_missing_outside_file_names_the_setting_that_needs_it(tmp_path: Path) -> None:
    external = External(path=tmp_path / "gone", needed_by="teacher.weights")
    with pytest.raises(StageError) as caught:
        external_digest(external, DigestCache())
    assert str(caught.value) == (
        f"teacher.weights: no such file or folder ({tmp_path / 'gone'}); "
        "put it there or correct the path"
    )


def test_outside_folder_counts_by_names_and_bytes(tmp_path: Path) -> None:
    folder = External(path=tmp_path, needed_by="data.root")
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.png").write_bytes(b"one")
    first = external_digest(folder, DigestCache())
    os.utime(tmp_path / "cats" / "1.png", (1, 1))
    assert external_digest(folder, DigestCache()) == first
    (tmp_path / "cats" / "1.png").write_bytes(b"two")
    changed = external_digest(folder, DigestCache())
    (tmp_path / "cats" / "1.png").write_bytes(b"one")
    (tmp_path / "cats" / "1.png").rename(tmp_path / "cats" / "2.png")
    assert len({first, changed, external_digest(folder, DigestCache())}) == 3


def test_outside_folder_may_have_names_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"one")
    folder = External(path=tmp_path, needed_by="data.root")
    assert len(external_digest(folder, DigestCache())) == 64


def test_touched_file_of_a_folder_is_read_again_despite_the_cache(tmp_path: Path) -> None:
    digest_cache = DigestCache()
    folder = External(path=tmp_path, needed_by="data.root")
    (tmp_path / "1.png").write_bytes(b"one")
    first = external_digest(folder, digest_cache)
    (tmp_path / "1.png").write_bytes(b"two")
    os.utime(tmp_path / "1.png", (1, 1))
    assert external_digest(folder, digest_cache) != first


def test_digest_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_files_behind_a_link_to_a_folder_count(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"one")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    folder = External(path=tmp_path / "data", needed_by="data.root")
    first = external_digest(folder, DigestCache())
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"two!")
    assert external_digest(folder, DigestCache()) != first


def test_a_link_to_a_folder_around_it_ends(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    plain = external_digest(External(path=tmp_path, needed_by="data.root"), DigestCache())
    (tmp_path / "loop").symlink_to(tmp_path)
    assert external_digest(External(path=tmp_path, needed_by="data.root"), DigestCache()) == plain


@pytest.fixture
def network(tmp_path: Path) -> External:
    """A Python file of the user's that imports one beside it."""
    (tmp_path / "network.py").write_text("from . import layers\nimport json\n", encoding="utf-8")
    (tmp_path / "layers.py").write_text("WIDTH = 1\n", encoding="utf-8")
    return External(path=tmp_path / "network.py", needed_by="student.arch")


def test_outside_python_file_counts_by_its_code_and_that_beside_it(
    network: External, tmp_path: Path
) -> None:
    first = external_digest(network, DigestCache())
    (tmp_path / "layers.py").write_text("# a remark\nWIDTH = 1\n", encoding="utf-8")
    assert external_digest(network, DigestCache()) == first
    (tmp_path / "layers.py").write_text("WIDTH = 2\n", encoding="utf-8")
    assert external_digest(network, DigestCache()) != first


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"x = (\n", r"layers.py, line 1: .*never closed"), (b"x = 1\0", r"null bytes")],
)
def test_outside_file_that_is_not_python_is_a_fault_of_its_setting(
    network: External, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "layers.py").write_bytes(content)
    with pytest.raises(SettingsFault, match=rf"student.arch: is not Python \(.*{reason}") as caught:
        external_digest(network, DigestCache())
    assert str(caught.value).endswith("; correct the file")


@pytest.mark.usefixtures("settled")
def test_folder_is_read_once_while_nothing_in_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.png").write_bytes(b"one")
    time.sleep(0.02)
    digest_cache, folder = DigestCache(), External(path=tmp_path, needed_by="data.root")
    first = external_digest(folder, digest_cache)
    monkeypatch.setattr(externals, "file_sha256", lambda _path: pytest.fail("read again"))
    assert external_digest(folder, digest_cache) == first


@pytest.mark.usefixtures("settled")
def test_file_of_equal_size_and_time_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"one")
    time.sleep(0.02)
    digest_cache, folder = DigestCache(), External(path=tmp_path, needed_by="data.root")
    first = external_digest(folder, digest_cache)
    rewrite(tmp_path / "1.png", b"two")
    assert external_digest(folder, digest_cache) != first


@pytest.mark.usefixtures("settled")
def test_what_lies_behind_a_link_is_read_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, ns=(0, 0))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.png").symlink_to(tmp_path / "one")
    time.sleep(0.02)
    digest_cache, folder = DigestCache(), External(path=tmp_path / "data", needed_by="data.root")
    digests = {external_digest(folder, digest_cache)}
    (tmp_path / "data" / "1.png").unlink()
    (tmp_path / "data" / "1.png").symlink_to(tmp_path / "two")
    digests.add(external_digest(folder, digest_cache))
    rewrite(tmp_path / "two", b"six")
    digests.add(external_digest(folder, digest_cache))
    assert len(digests) == 3


def test_another_folder_with_equal_names_sizes_and_times_is_read(tmp_path: Path) -> None:
    digest_cache, digests = DigestCache(), set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.bmp").write_bytes(name.encode())
        os.utime(tmp_path / name / "1.bmp", ns=(0, 0))
        folder = External(path=tmp_path / name, needed_by="data.root")
        digests.add(external_digest(folder, digest_cache))
    assert len(digests) == 2


def test_digest_of_files_that_were_only_just_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"one")
    digest_cache = DigestCache(tmp_path / "digests.json")
    folder = External(path=tmp_path, needed_by="data.root")
    external_digest(folder, digest_cache)
    digest_cache.save()
    assert not (tmp_path / "digests.json").exists()


def test_empty_folder_counts_since_it_may_be_a_class(tmp_path: Path) -> None:
    folder = External(path=tmp_path, needed_by="data.root")
    (tmp_path / "cats").mkdir()
    first = external_digest(folder, DigestCache())
    (tmp_path / "dogs").mkdir()
    assert external_digest(folder, DigestCache()) != first


def test_what_can_change_nothing_does_not_count(tmp_path: Path) -> None:
    folder = External(
        path=tmp_path, needed_by="data.root", counts=lambda name: not name.startswith(".")
    )
    (tmp_path / "1.png").write_bytes(b"one")
    first = external_digest(folder, DigestCache())
    (tmp_path / ".gitignore").write_bytes(b"*")
    (tmp_path / ".madpipe").mkdir()
    assert external_digest(folder, DigestCache()) == first
