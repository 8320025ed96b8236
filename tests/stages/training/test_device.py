"""The device that training runs on, and how random numbers are seeded."""

import re
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from pipeline.errors import StageError
from stages.training import device as devices

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_named_is_taken(precision: str) -> None:
    assert devices.select(precision).precision == precision


def test_auto_is_one_of_both_precisions_and_the_gpu_where_there_is_one() -> None:
    chosen = devices.select("auto")
    assert chosen.precision in {"fp32", "bf16"}
    assert chosen.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_on_a_gpu_cudnn_tries_which_kernels_are_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert devices.select() == devices.Compute(torch.device("cuda"), "bf16")
    assert torch.backends.cudnn.benchmark


def test_fp32_networks_run_in_fp32_and_bf16_networks_in_bf16() -> None:
    layer, x_BC = torch.nn.Linear(2, 2), torch.rand(1, 2)
    with devices.Compute(CPU, "fp32").autocast():
        assert layer(x_BC).dtype == torch.float32
    with devices.Compute(CPU, "bf16").autocast():
        assert layer(x_BC).dtype == torch.bfloat16


def test_the_same_seed_and_stage_sample_the_same_numbers() -> None:
    first = torch.rand(3, generator=devices.seeded(0, "teacher", CPU))
    whole_of_torch = torch.rand(3)
    second = torch.rand(3, generator=devices.seeded(0, "teacher", CPU))
    assert torch.equal(first, second)
    assert torch.equal(whole_of_torch, torch.rand(3))


def test_another_seed_or_another_stage_samples_others() -> None:
    samples = [
        torch.rand(3, generator=devices.seeded(seed, stage, CPU))
        for seed, stage in ((0, "teacher"), (0, "distill"), (1, "teacher"), (2**32 - 1, "teacher"))
    ]
    assert all(
        not torch.equal(one, other) for i, one in enumerate(samples) for other in samples[i + 1 :]
    )


@pytest.mark.parametrize(
    ("has_compiler", "has_headers", "lacks"),
    [
        (True, True, None),
        (False, True, "a C compiler"),
        (True, False, "Python's headers"),
        (False, False, "a C compiler .* and Python's headers"),
    ],
)
def test_auto_compiles_for_a_gpu_only_where_triton_finds_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lacks: str | None,
    *,
    has_compiler: bool,
    has_headers: bool,
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: name if has_compiler else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    if has_headers:
        (tmp_path / "Python.h").touch()
    compute = devices.Compute(torch.device("cuda"), "fp32")
    modes = [compute.compile_mode("auto", can_replay=can_replay) for can_replay in (True, False)]
    assert modes == (["cuda-graphs", "on"] if lacks is None else ["off", "off"])
    assert compute.compile_mode("on") == "on"
    assert devices.Compute(CPU, "fp32").compile_mode("auto") == "off"
    assert lacks is None or re.search(lacks, compute.why_eager() or "")
    assert compute.why_eager("off") is devices.Compute(CPU, "fp32").why_eager() is None


def test_too_little_memory_of_the_machine_says_what_to_do() -> None:
    with (
        pytest.raises(StageError, match=r"validate: the machine's memory is too small \(.* GiB"),
        devices.enough_memory("validate", "free some"),
    ):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match="another"), devices.enough_memory("validate", "none"):
        raise RuntimeError("another")
