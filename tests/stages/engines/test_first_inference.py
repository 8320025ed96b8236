"""The time to a first inference is of processes in which nothing is warm."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StageError, UnavailableError
from pipeline.gates.build_records import EngineManifest
from stages.engines import child_process, first_inference, ort, selection
from stages.engines.first_inference import FirstRequest
from stages.engines.open_engine import read_manifest
from tests.stages.tiny import TinyRun

SHAPE_BCHW = (1, 1, 8, 8)


@pytest.fixture
def engine(tiny: TinyRun) -> tuple[EngineManifest, Path]:
    """The engine of the tiny run."""
    path = tiny.path("build/engine")
    return read_manifest(tiny.path("build/manifest"), path), path


def _request(manifest: EngineManifest, path: Path, **changes: object) -> FirstRequest:
    values: dict[str, object] = {
        "manifest": manifest,
        "engine": str(path),
        "shape_BCHW": SHAPE_BCHW,
        "threads": 1,
        "runs": 2,
        "keeps_kernels": False,
    }
    return FirstRequest(**values | changes)  # type: ignore[arg-type]


def test_each_process_opens_the_engine_anew(engine: tuple[EngineManifest, Path]) -> None:
    manifest, path = engine
    first = first_inference.measure(manifest, path, SHAPE_BCHW, threads=1, runs=3)
    assert first is not None
    assert first.n == len(first.times_ms) == 3
    assert min(first.times_ms) <= first.p50_ms <= max(first.times_ms)
    assert min(first.times_ms) > 0 < first.import_ms
    assert (first.cached_p50_ms, first.cached_times_ms) == (None, ())
    assert first_inference.measure(manifest, path, SHAPE_BCHW, threads=1, runs=0) is None


def test_without_forks_each_time_is_of_a_program_of_its_own(
    engine: tuple[EngineManifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_inference, "IS_FORKED", False)
    monkeypatch.setattr(first_inference, "_BUDGET_S", 0.0)
    first = first_inference.measure(*engine, SHAPE_BCHW, threads=1, runs=3)
    assert first is not None
    assert first.n == 1  # the budget was over after one
    answer = first_inference._answer(_request(*engine))
    assert len(answer.times_ms) == 1


def test_kernels_that_a_runtime_keeps_are_measured_behind_a_process_that_keeps_them(
    engine: tuple[EngineManifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path | None] = []

    def once(request: FirstRequest, cache: Path | None) -> float:
        assert request.runs == 2
        folders.append(cache)
        return float(len(folders))

    monkeypatch.setattr(first_inference, "_first_ms", once)
    monkeypatch.setattr(
        first_inference,
        "_in_fork",
        lambda _, measure_once: first_inference.FirstMessage(times_ms=(measure_once(),)),
    )
    answer = first_inference._answer(_request(*engine, keeps_kernels=True))
    assert (answer.times_ms, answer.cached_times_ms) == ((1.0, 2.0), (4.0, 5.0))
    assert folders[:2] == [None, None]
    assert len(set(folders[2:])) == 1


def test_a_fork_that_crashes_or_fails_is_an_error(engine: tuple[EngineManifest, Path]) -> None:
    request = _request(*engine)

    def crash() -> float:
        os.kill(os.getpid(), signal.SIGSEGV)
        return 0.0

    faulthandler.disable()  # which would print all of pytest's frames
    with pytest.raises(StageError, match=r"^the engine: ended the process .*SIGSEGV"):
        first_inference._in_fork(request, crash)

    def fail() -> float:
        raise UnavailableError("build.device", "is not here (none)", "use another")

    with pytest.raises(UnavailableError, match="is not here"):
        first_inference._in_fork(request, fail)
    with pytest.raises(StageError, match=r"exit code 1"):
        first_inference._in_fork(request, lambda: 1 / 0)


def test_an_engine_that_cannot_be_opened_fails_as_it_does_here(
    engine: tuple[EngineManifest, Path], tmp_path: Path
) -> None:
    path = tmp_path / "engine.onnx"
    path.write_bytes(b"none")
    with pytest.raises(StageError, match="build it again"):
        first_inference.measure(engine[0], path, SHAPE_BCHW, threads=1, runs=1)
    with pytest.raises(StageError, match="does not take such images"):
        first_inference.measure(*engine, (1, 1, 9, 9), threads=1, runs=1)


def test_a_program_that_dies_or_hangs_is_an_error_with_how(
    engine: tuple[EngineManifest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONHOME", "/nowhere")
        with pytest.raises(StageError, match=r"ended the process .*exit code 1"):
            first_inference.measure(*engine, SHAPE_BCHW, threads=1, runs=1)
    monkeypatch.setattr(first_inference, "_LONGEST_S", 0.01)
    with pytest.raises(StageError, match=r"not done after 0\.01 s"):
        first_inference.measure(*engine, SHAPE_BCHW, threads=1, runs=1)


def test_what_is_timed_is_opening_and_one_inference(
    engine: tuple[EngineManifest, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []

    class Session:
        notes = ()

        def infer(self, x_BCHW: np.ndarray) -> np.ndarray:
            calls.append(f"infer {x_BCHW.shape}")
            return x_BCHW

    def opened(*_: object, **options: object) -> Session:
        calls.append(f"open {options['cache']}")
        return Session()

    monkeypatch.setattr(ort, "open", opened)
    assert selection.backend("onnxruntime") is sys.modules[ort.__name__]
    assert first_inference._first_ms(_request(*engine), None) > 0
    assert calls == ["open None", f"infer {SHAPE_BCHW}"]
    first_inference._first_ms(_request(*engine), tmp_path)
    assert calls[2:] == [f"open {tmp_path}", *2 * [f"infer {SHAPE_BCHW}"]]


def test_endings_have_the_names_of_signals() -> None:
    assert child_process.ending(-11) == "killed by SIGSEGV"
    assert child_process.ending(-200) == "killed by signal 200"
    assert child_process.ending(3) == "exit code 3"
