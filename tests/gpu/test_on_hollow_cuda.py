"""The code for a GPU, run on hollow CUDA: files of cases, each in a process of its own."""

import re
from pathlib import Path

import pytest

from tests.gpu.hollow.process import HollowCuda
from tests.versions import needs_onnxruntime_for_cuda_13

ROOT = Path(__file__).parents[2]
CASES = "tests/gpu/cases"
SLOW = pytest.mark.slow
NEED_VALUES = (
    "test_rounds_are_trained_and_their_figures_are_finite",
    "test_the_student_learns_what_a_round_shows_it",
    "test_no_step_of_an_epoch_waits_for_the_gpu",  # and its losses are finite
    "test_an_engine_on_the_gpu_agrees_with_torch",
)
"""Tests for a GPU that look at what kernels computed; the cases here have the rest of them."""


@pytest.mark.parametrize(
    "cases",
    [
        "rounds",
        "teacher",
        "distill_stage",
        "programs",
        pytest.param("onnxruntime_sessions", marks=(SLOW, needs_onnxruntime_for_cuda_13)),
    ],
)
def test_cases_pass(hollow_cuda: HollowCuda, cases: str) -> None:
    hollow_cuda.start_tests(f"{CASES}/{cases}.py").output()


@pytest.mark.slow
def test_compiled_rounds_pass(hollow_cuda: HollowCuda) -> None:
    """With CUDA graphs, which take the same compiler; each other way takes a minute more."""
    test = f"{CASES}/compiled_rounds.py::test_rounds_are_compiled_once_and_wait_for_nothing"
    assert "1 passed" in hollow_cuda.start_tests(f"{test}[auto]").output()


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
