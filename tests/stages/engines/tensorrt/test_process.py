"""The parent's side of a build: a child that crashes is an error, and leaves nothing."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import StageError
from stages.engines.tensorrt import process
from stages.engines.tensorrt.edition import RTX, STANDARD
from tests.stages.engines.tensorrt.conftest import MakeOrder

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(each) for path in tasks for each in path.read_text().split()]


@posix
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_of_native_code_is_an_error_that_names_the_signal(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = set(_children())

    def crash(done: int, total: int, unit: str) -> None:
        del done, total, unit
        for child in set(_children()) - before:
            os.kill(child, number)

    asked = replace(order(), tell=crash)
    with pytest.raises(StageError, match=rf"^build: .*TensorRT-RTX crashed .*{number.name}") as e:
        process.build(asked, RTX)
    assert "; try another precision" in str(e.value)
    assert not asked.engine.exists()
    assert not list((tmp_path / "tmp").iterdir())
    assert set(_children()) == before


def test_the_last_words_of_a_crash_are_shown(
    order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(StageError, match=r"crashed \(exit code 1: .*\)"):
        process.build(order(), RTX)


def test_a_folder_called_as_ours_does_not_get_in_between(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    asked = order()
    process.build(asked, RTX)
    assert asked.engine.is_file()


def test_an_engine_that_failed_before_is_left_as_it_was(
    order: MakeOrder, made: dict[str, Path]
) -> None:
    asked = order("fp16", onnx=made["fp32"])
    asked.engine.write_bytes(b"before")
    with pytest.raises(StageError):
        process.build(asked, RTX)
    assert asked.engine.read_bytes() == b"before"


def test_only_the_edition_that_has_one_keeps_a_timing_cache(
    order: MakeOrder, tmp_path: Path
) -> None:
    asked = order(cache=tmp_path / "cache")
    path = process._timing_cache(asked, STANDARD)
    assert path is not None
    assert Path(path).parent == tmp_path / "cache"
    assert path.endswith(".timing")
    assert process._timing_cache(asked, RTX) is None
    off = order(cache=tmp_path / "cache", timing_cache=False)
    assert process._timing_cache(off, STANDARD) is None
    assert process._timing_cache(order(), STANDARD) is None


def test_the_child_finds_the_modules_that_we_run_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    first, second = process._environment()["PYTHONPATH"].split(os.pathsep)
    assert (Path(first) / "stages").is_dir()
    assert second == "elsewhere"
    assert sys.executable
