"""The example of weights by name runs from start to end on a cache that is there, offline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.hubs.local_hub import cache_repository, closed_url, timm_weights

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "weights_by_name"
QUICK = (
    "data.image_size_px=32",
    "distill.rounds=4",
    "distill.batch_size=8",
    "distill.bank_size=16",
    "build.backend=onnxruntime",
    "build.precision=fp32",
    "validate.pairs=20",
    "validate.batch_sizes=[1]",
    "gates={}",
)


@pytest.mark.slow
def test_a_named_teacher_and_a_named_start_become_an_engine(tmp_path: Path) -> None:
    for name in ("test_resnet", "test_efficientnet"):
        files = {"model.safetensors": timm_weights(1000, architecture=name)}
        cache_repository(tmp_path / "hf", f"timm/{name}.r160_in1k", files)
    shutil.copy(EXAMPLE / "pipeline.toml", tmp_path)
    environment = os.environ | {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": closed_url(),
        "TORCH_HOME": str(tmp_path / "torch"),
    }
    commands = (
        ["run", "all", *(part for change in QUICK for part in ("--set", change))],
        ["report", "--format", "json"],
    )
    output = ""
    for command in commands:
        script = f"from pipeline.cli.main import main; main({command!r})"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    report = json.loads(output)
    assert {stage["name"]: stage["status"] for stage in report["stages"]}["validate"] == "ran"
    manifest = json.loads(next(tmp_path.glob(".madpipe/entries/build/*/manifest.json")).read_text())
    preprocessing = manifest["preprocessing"]
    assert preprocessing["mean"] == [0.5, 0.5, 0.5]
    assert len(preprocessing["classes"]) == 1000
    assert preprocessing["origins"]["mean"]["kind"] == "hub"
