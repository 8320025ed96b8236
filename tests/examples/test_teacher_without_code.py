"""The example of a teacher that is a file runs from start to end, as its README says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "teacher_without_code"
QUICK = (
    "distill.rounds=60", "build.precision=fp32", "validate.pairs=20", "gates={}",
    "distill.bank_size=64",
)  # fmt: skip


def _madpipe(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f"from pipeline.cli.main import main; main({list(arguments)!r})"
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_file_without_code_becomes_an_engine(tmp_path: Path) -> None:
    shutil.copytree(
        EXAMPLE, tmp_path, dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(".madpipe", "images", "teacher.*"),
    )  # fmt: skip
    script = "import prepare; prepare.EPOCHS = 3; prepare.main()"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    changes = [part for change in QUICK for part in ("--set", change)]
    run = _madpipe(tmp_path, "run", "all", *changes)
    assert run.returncode == 0, run.stderr
    assert "teacher.onnx gives the same here as in ONNX Runtime" in run.stderr + run.stdout
    report = _madpipe(tmp_path, "report", "--format", "json")
    document = json.loads(report.stdout)
    accuracy = document["accuracy"]
    assert accuracy["teacher"]["top1"] > 0.8
    assert accuracy["engine"]["n"] == accuracy["teacher"]["n"] > 500
    for name in ("teacher.pt2", "teacher.ts"):
        other = _madpipe(tmp_path, "run", "teacher", *changes, "--set", f"teacher.weights={name}")
        assert other.returncode == 0, other.stderr
        assert f"{name} gives the same here as in torch." in other.stderr + other.stdout
