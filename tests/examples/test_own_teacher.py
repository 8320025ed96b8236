"""The example of a teacher of one's own runs from start to end, as its README says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "own_teacher"
QUICK = ("distill.rounds=60", "build.int8=rounded", "validate.pairs=20", "gates={}")


@pytest.mark.slow
def test_a_plain_checkpoint_of_a_user_s_network_becomes_an_engine(tmp_path: Path) -> None:
    shutil.copytree(
        EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".madpipe", "images")
    )
    subprocess.run([sys.executable, "prepare.py"], cwd=tmp_path, check=True, capture_output=True)
    command = ["run", "all", *(part for change in QUICK for part in ("--set", change))]
    script = f"from pipeline.cli.main import main; main({command!r})"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    report = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pipeline.cli.main import main; main(['report', '--format', 'json'])",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    accuracy = json.loads(report.stdout)["accuracy"]
    assert accuracy["teacher"]["top1"] > 0.95
    assert accuracy["engine"]["n"] == accuracy["teacher"]["n"] > 500
