"""Hollow CUDA itself: what it counts, refuses and shows."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import machine
from tests.gpu.hollow import libraries, process
from tests.gpu.hollow.process import HollowCuda

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("gpus", [1, 2])
def test_calls_are_counted_and_copies_and_captures_behave(
    hollow_cuda: HollowCuda, gpus: int
) -> None:
    printed = hollow_cuda.run("tests.gpu.hollow.probe", gpus=gpus)
    assert printed.strip() == f"{gpus} {['NVIDIA Hollow H100'] * gpus}"


def test_a_program_that_fails_fails_the_test(hollow_cuda: HollowCuda) -> None:
    with pytest.raises(pytest.fail.Exception, match="no_such_module"):
        hollow_cuda.run("tests.gpu.no_such_module")


def test_it_is_skipped_beside_a_real_gpu_but_where_it_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: ("one",))
    monkeypatch.delenv("REQUIRE_HOLLOW_CUDA", raising=False)
    with pytest.raises(pytest.skip.Exception, match="a real GPU is here"):
        process.provide(tmp_path)
    monkeypatch.setenv("REQUIRE_HOLLOW_CUDA", "1")
    with pytest.raises(pytest.fail.Exception, match="a real GPU is here"):
        process.provide(tmp_path)


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "nm" else tool)
    assert libraries.why_absent() == "nm is not installed"


@pytest.mark.usefixtures("hollow_cuda")
def test_the_script_runs_a_command_on_it() -> None:
    command = [sys.executable, "scripts/hollow_cuda.py", "--gpus", "2", "--", "-c"]
    program = "import torch; print(torch.cuda.device_count())"
    output = subprocess.check_output([*command, program], cwd=ROOT, text=True)
    assert output == "2\n"
