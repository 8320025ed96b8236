"""A CUDA graph writes over what its last pass returned: nothing that is kept may lie there.

A stand-in does the same on the CPU, so a student that was trained on spoiled tensors shows.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.catalog import declare
from stages.distill import stage as distill_stage
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.trainer import DistillTrainer
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.graph_replays import GraphReplays
from tests.stages.tiny import TinyRun, context, settings


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
