"""The child process, run by itself."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from pipeline import machine
from pipeline.settings import TensorRT
from stages.engines.tensorrt.builder import WorkerRequest

ROOT = Path(__file__).parents[4]


def _run(folder: Path, request: WorkerRequest | None) -> tuple[int, list[dict[str, object]], str]:
    path = folder / "request.json"
    if request is not None:
        path.write_bytes(msgspec.json.encode(request))
    done = subprocess.run(
        [sys.executable, "-m", "stages.engines.tensorrt.worker", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def _request(folder: Path, onnx: Path, backend: str) -> WorkerRequest:
    return WorkerRequest(
        backend=backend,
        onnx=str(onnx),
        engine=str(folder / "engine"),
        precision="fp32",
        targets=("sm89",),
        settings=TensorRT(),
        timing_cache=None,
    )


def test_an_edition_that_is_not_installed_is_reported_as_unavailable(
    onnx_files: dict[str, Path], tmp_path: Path
) -> None:
    if machine.has_module("tensorrt"):
        return
    code, lines, _ = _run(tmp_path, _request(tmp_path, onnx_files["fp32"], "tensorrt"))
    (failed,) = lines
    assert (code, failed["kind"], failed["exit_code"]) == (0, "failed", 5)
    assert "TensorRT does not load (No module named 'tensorrt')" in str(failed["error"])


def test_all_that_is_on_standard_output_is_ours(
    onnx_files: dict[str, Path], tmp_path: Path
) -> None:
    if not machine.has_module("tensorrt_rtx"):
        return
    code, lines, _ = _run(tmp_path, _request(tmp_path, onnx_files["fp32"], "tensorrt-rtx"))
    assert code == 0
    assert lines[-1] == {"kind": "built"}
    assert {line["kind"] for line in lines[:-1]} == {"progress"}
    assert (tmp_path / "engine").is_file()


def test_a_request_that_is_none_ends_it_with_a_traceback_for_the_parent(tmp_path: Path) -> None:
    code, lines, errors = _run(tmp_path, None)
    assert (code, lines) == (1, [])
    assert "FileNotFoundError" in errors
