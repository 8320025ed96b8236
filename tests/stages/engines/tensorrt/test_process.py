"""The parent's side of a build: a child that crashes is an error, and leaves nothing."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import StageError
from stages.engines.tensorrt import process
from stages.engines.tensorrt.edition import RTX, STANDARD
from tests.stages.engines.tensorrt.conftest import NewRequest

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for path in tasks for pid in path.read_text().split()]


@posix
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_of_native_code_is_an_error_that_names_the_signal(
    new_request: NewRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = set(_children())

    def crash(done: int, total: int, unit: str) -> None:
        del done, total, unit
        for child in set(_children()) - before:
            os.kill(child, number)

    request = replace(new_request(), on_progress=crash)
    with pytest.raises(StageError, match=rf"^build: .*TensorRT-RTX crashed .*{number.name}") as e:
        process.build(request, RTX)
    assert "; try another precision" in str(e.value)
    assert not request.engine.exists()
    assert not list((tmp_path / "tmp").iterdir())
    assert set(_children()) == before


def test_what_a_killed_build_leaves_lies_beside_its_engine(new_request: NewRequest) -> None:
    beside: list[Path] = []

    def look(done: int, total: int, unit: str) -> None:
        del done, total, unit
        beside.extend(request.engine.parent.glob("madpipe-*/"))

    request = replace(new_request(), on_progress=look)
    process.build(request, RTX)
    assert beside
    assert not beside[0].exists()


def test_the_last_line_of_a_crash_is_in_the_message(
    new_request: NewRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(StageError, match=r"crashed \(exit code 1: .*\)"):
        process.build(new_request(), RTX)


def test_a_folder_called_as_ours_does_not_get_in_between(
    new_request: NewRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    request = new_request()
    process.build(request, RTX)
    assert request.engine.is_file()


def test_an_engine_that_failed_before_is_left_as_it_was(
    new_request: NewRequest, onnx_files: dict[str, Path]
) -> None:
    request = new_request("fp16", onnx=onnx_files["fp32"])
    request.engine.write_bytes(b"before")
    with pytest.raises(StageError):
        process.build(request, RTX)
    assert request.engine.read_bytes() == b"before"


def test_only_the_edition_that_has_one_keeps_a_timing_cache(
    new_request: NewRequest, tmp_path: Path
) -> None:
    request = new_request(cache=tmp_path / "cache")
    path = process._timing_cache(request, STANDARD)
    assert path is not None
    assert Path(path).parent == tmp_path / "cache"
    assert path.endswith(".timing")
    assert process._timing_cache(request, RTX) is None
    off = new_request(cache=tmp_path / "cache", timing_cache=False)
    assert process._timing_cache(off, STANDARD) is None
    assert process._timing_cache(new_request(), STANDARD) is None
