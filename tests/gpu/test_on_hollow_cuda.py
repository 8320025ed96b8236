"""The code for a GPU, run on hollow CUDA: files of cases, each in a process of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpu.hollow.process import HollowCuda, Running

ROOT = Path(__file__).parents[2]
CASES = "tests/gpu/cases"
WAYS_TO_COMPILE = ("auto", "on")
NEED_VALUES = (
    "test_rounds_are_trained_and_their_figures_are_finite",
    "test_the_student_learns_what_a_round_shows_it",
    "test_no_step_of_an_epoch_waits_for_the_gpu",  # and its losses are finite
    "test_an_engine_on_the_gpu_agrees_with_torch",
)
"""Tests for a GPU that look at what kernels computed; the cases here have the rest of them."""


@pytest.fixture(scope="module", autouse=True)
def compiling(hollow_cuda: HollowCuda) -> Iterator[dict[str, Running]]:
    """What compiles, which takes a minute, has begun before all others and goes on beside them."""
    test = f"{CASES}/compiled_rounds.py::test_rounds_are_compiled_once_and_wait_for_nothing"
    running = {way: hollow_cuda.start_tests(f"{test}[{way}]") for way in WAYS_TO_COMPILE}
    yield running
    for one in running.values():
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("cases", ["rounds", "teacher", "distill_stage", "onnxruntime_sessions"])
def test_cases_pass(hollow_cuda: HollowCuda, cases: str) -> None:
    hollow_cuda.start_tests(f"{CASES}/{cases}.py").output()


@pytest.mark.parametrize("way", WAYS_TO_COMPILE)
def test_compiled_rounds_pass(compiling: dict[str, Running], way: str) -> None:
    assert "1 passed" in compiling[way].output()


def test_the_tests_for_a_gpu_run(hollow_cuda: HollowCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path != Path(__file__) and "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # compiled rounds are above
    selection = " and ".join(f"not {name}" for name in NEED_VALUES)
    printed = hollow_cuda.start_tests(*marked, "-m", "gpu", "-k", selection).output()
    assert re.search(r"\b[2-9] passed", printed), printed
    skipped = re.findall(r"^SKIPPED .*: (.*)$", printed, re.MULTILINE)
    assert set(skipped) <= {"tensorrt is not installed", "tensorrt-rtx knows no sm90"}
