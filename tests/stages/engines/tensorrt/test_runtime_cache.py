"""Kernels are taken only where the engine, the GPU and the version are those that made them."""

from pathlib import Path

import pytest

from stages.engines.tensorrt.kernels import Kernels
from stages.engines.tensorrt.runtime_cache import CacheFile, cache_file

GPU = ("NVIDIA L4", "8.9")


def _file(folder: Path, **changes: object) -> CacheFile:
    values: dict[str, object] = {"sha256": "a" * 64, "version": "1.7.1", "gpu": GPU}
    return cache_file(folder, **values | changes)  # type: ignore[arg-type]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    file = _file(tmp_path / "new" / "folder")
    assert file.read() == (b"", "")
    assert file.write(b"kernels") == ""
    assert file.read() == (b"kernels", "")
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


@pytest.mark.parametrize(
    "change", [{"sha256": "b" * 64}, {"version": "1.7.2"}, {"gpu": ("NVIDIA L4", "9.0")}]
)
def test_another_engine_version_or_gpu_has_a_file_of_its_own(
    tmp_path: Path, change: dict[str, object]
) -> None:
    file, other = _file(tmp_path), _file(tmp_path, **change)
    file.write(b"kernels")
    assert other.read() == (b"", "")
    file.path.rename(other.path)
    kernels, note = other.read()
    assert kernels == b""
    assert "is damaged, or of another engine, GPU or version, and was left aside" in note


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 100])
def test_a_damaged_file_is_left_aside_with_a_note(tmp_path: Path, content: bytes) -> None:
    file = _file(tmp_path)
    file.path.write_bytes(content)
    assert "left aside" in file.read()[1]
    file.write(b"kernels")
    whole = bytearray(file.path.read_bytes())
    whole[-1] ^= 1
    file.path.write_bytes(whole)
    assert "left aside" in file.read()[1]


def test_a_folder_that_cannot_be_used_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    file = _file(tmp_path / "file")
    assert "was not read" in file.read()[1]
    assert "was not kept" in file.write(b"kernels")


class Cache:
    """A runtime cache as the bindings have it."""

    def __init__(self, *, takes: bool) -> None:
        self.takes, self.content = takes, b""

    def deserialize(self, blob: bytes) -> bool:
        if self.takes:
            self.content = blob
        return self.takes

    def serialize(self) -> bytes:
        return self.content

    def reset(self) -> bool:
        self.content = b""
        return True


class Engine:
    """An engine whose configuration makes one cache."""

    def __init__(self, *, takes: bool = True) -> None:
        self.cache = Cache(takes=takes)
        self.used: Cache | None = None

    def create_runtime_config(self) -> "Engine":
        return self

    def create_runtime_cache(self) -> Cache:
        return self.cache

    def set_runtime_cache(self, cache: Cache) -> bool:
        self.used = cache
        return True


def test_a_session_takes_the_kernels_and_keeps_those_that_are_new(tmp_path: Path) -> None:
    file, notes, engine = _file(tmp_path), list[str](), Engine()
    kernels = Kernels(engine, file, notes)
    assert kernels.config is engine
    assert engine.used is engine.cache
    kernels.keep()
    assert not file.path.exists()
    engine.cache.content = b"compiled"
    kernels.keep()
    assert file.read() == (b"compiled", "")
    stamp = file.path.stat().st_mtime_ns
    kernels.keep()
    assert file.path.stat().st_mtime_ns == stamp
    later = Engine()
    Kernels(later, file, notes)
    assert later.cache.content == b"compiled"
    assert notes == []


def test_kernels_that_the_runtime_refuses_are_left_aside_and_written_anew(tmp_path: Path) -> None:
    file, notes, engine = _file(tmp_path), list[str](), Engine(takes=False)
    file.write(b"of another driver")
    kernels = Kernels(engine, file, notes)
    assert "does not take its runtime cache" in notes[0]
    engine.cache.content = b"compiled"
    kernels.keep()
    assert file.read() == (b"compiled", "")
