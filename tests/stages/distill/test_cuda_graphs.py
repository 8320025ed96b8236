"""A CUDA graph writes over what its last pass returned: nothing that is kept may lie there.

A stand-in does the same on the CPU, so a student that was trained on spoiled tensors shows.
"""

import contextlib
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from stages.catalog import declare
from stages.distill import stage as distill_stage
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from stages.training.device import Compute
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.tiny import TinyRun, context, settings


class GraphReplays:
    """Spoils the outputs of all compiled passes when the next begins, unless a backward waits."""

    def __init__(self) -> None:
        self.passes = 0
        self._outputs: list[weakref.ref[Tensor]] = []
        self._backward_waits = False
        self._is_eager = False

    def compile(self, network: nn.Module, **_options: object) -> None:
        def replay(*inputs: Tensor) -> object:
            if self._is_eager:
                return network.forward(*inputs)
            if not self._backward_waits:
                self._spoil(inputs)
            outputs = network.forward(*inputs)
            self.passes += 1
            for output in _pytree.tree_leaves(outputs):
                self._outputs.append(weakref.ref(output))
                if output.requires_grad:
                    self._backward_waits = True
                    output.register_hook(self._backward_came)
            return outputs

        network._compiled_call_impl = replay

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        self._is_eager = True
        yield
        self._is_eager = False

    def _backward_came(self, _gradient: Tensor) -> None:
        self._backward_waits = False

    def _spoil(self, inputs: tuple[Tensor, ...]) -> None:
        for reference in self._outputs:
            output = reference()
            if output is not None:
                assert not any(output is value for value in inputs), (
                    "a graph reads another's output"
                )
                output.data.fill_(math.nan)
        self._outputs.clear()


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> GraphReplays:
    """Put the stand-in where networks are compiled for CUDA graphs."""
    replays = GraphReplays()
    monkeypatch.setattr(
        nn.Module,
        "compile",
        lambda network, mode, **_options: replays.compile(network) if mode else None,
    )
    monkeypatch.setattr(Compute, "eager", staticmethod(replays.eager))
    return replays


def _trained(path: Path, **options: Any) -> DistillTrainer:
    trainer, _ = build_trainer(job(rounds=3, **options), path, Group())
    trainer.run()
    return trainer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "abm"},
        {"method": "abm", "augment": "none"},
        {"method": "dfkd-mem", "memory_size": 40},
        {"joint_batch": False},
        {"augment": "none"},
        {"draw_every": 2},
        {"lambda0": 0.0},
        {"generator": "sum", "pretrain_steps": 1},
    ],
    ids=str,
)
def test_a_student_trained_by_replays_is_the_one_trained_without(
    tmp_path: Path, replays: GraphReplays, options: dict[str, Any]
) -> None:
    path = teacher(tmp_path)
    expected = trained_state(_trained(path, compile="off", **options))
    trainer = _trained(path, compile="cuda-graphs", **options)
    assert replays.passes > 0
    assert all(math.isfinite(window.student_loss) for window in trainer.windows)
    for name, value in trained_state(trainer).items():
        assert torch.equal(value, expected[name]), name


def test_a_bank_of_several_batches_is_not_written_over(
    tiny: TinyRun, tmp_path: Path, replays: GraphReplays
) -> None:
    banks = []
    for mode in ("off", "cuda-graphs"):
        chosen = settings({"distill": {"compile": mode, "bank_size": 96}})
        stage = next(stage for stage in declare(chosen, tmp_path) if stage.name == "distill")
        inputs = {"teacher/weights": tiny.path("teacher/weights")}
        ctx, _ = context(stage, chosen, inputs, tmp_path / mode)
        distill_stage.run(ctx)
        banks.append(ctx.output("bank").read_bytes())
    assert replays.passes > 0
    assert banks[0] == banks[1]
