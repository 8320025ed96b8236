"""The distill stage on hollow CUDA, from a teacher to its last output."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stages.catalog import declare
from stages.distill import collapse
from stages.distill import stage as distill_stage
from tests.stages.tiny import context, settings, weights_file


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # images of any values are drawn
@pytest.mark.parametrize("options", [{}, {"bank_size": 100}, {"monitor": "held-out"}], ids=str)
def test_a_student_is_distilled_to_the_last_output(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What kernels leave undone is no student: whether it collapsed says nothing.
    monkeypatch.setattr(collapse, "check", lambda *_: None)
    monkeypatch.setattr(torch, "bincount", lambda *_, **__: torch.full((10,), -1))
    short = {"rounds": 4, "precision": "auto", "compile": "off"}
    chosen = settings({"distill": short | options})
    (stage,) = [one for one in declare(chosen, tmp_path) if one.name == "distill"]
    inputs = {"teacher/weights": weights_file(tmp_path / "teacher.safetensors")}
    ctx, emitted = context(stage, chosen, inputs, tmp_path)
    distill_stage.run(ctx)
    # Other processes and libraries can have all of it.
    assert torch.cuda.memory_reserved() == 0
    assert all(ctx.output(name).is_file() for name in stage.outputs)
    metrics = {f["name"]: f["value"] for kind, f in emitted if kind == "metric"}
    assert metrics["precision"] == "bf16"
    assert metrics["peak_memory_bytes"] > 0
    assert not [fields for kind, fields in emitted if kind == "note"]
