"""Benchmarks measure what runs here, each way alone, and say what does not."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from benchmarks import engines, rounds
from pipeline.settings import Build
from stages.engines import selection
from stages.engines.selection import Candidate
from stages.networks import factory


def test_a_backend_that_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def candidates(_build: Build, _device: str) -> tuple[Candidate, ...]:
        return Candidate("tensorrt", "fp16"), Candidate("onnxruntime", "fp32")

    monkeypatch.setattr(selection, "candidates", candidates)
    card = msgspec.structs.replace(engines.CARD, arch="resnet8")
    network = factory.build(card, code=None, place="resnet8").eval()
    calls = engines.engines(network, tmp_path, np.zeros((2, 3, 32, 32), np.float32), "cpu")
    assert list(calls) == ["onnxruntime fp32"]
    assert "Not measured: tensorrt fp16" in capsys.readouterr().out


def test_each_way_to_run_a_round_begins_uncompiled_and_may_fail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Doubled(torch.nn.Module):  # torch 2.11 compiles none of its own layers by themselves
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    graphs = 0

    def count(graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        nonlocal graphs
        graphs += 1
        return graph

    ways = torch._dynamo.config.recompile_limit + 2
    for _ in range(ways):
        with rounds.alone("a way"):
            network = Doubled()
            network.compile(backend=count)
            network(torch.zeros(3, 2))
    assert graphs == ways

    def fail() -> None:
        raise ValueError("too little memory\nof a GPU")

    with rounds.alone("another way"):
        fail()
    assert capsys.readouterr().out == "| another way | failed: ValueError: too little memory |\n"
