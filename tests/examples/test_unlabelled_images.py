"""The example of unlabelled images runs from start to end, and every report says what it used."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.networks import card as cards

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "unlabelled_images"
QUICK = (
    "teacher.arch=resnet8", "teacher.epochs=4", "distill.rounds=20", "build.int8=rounded",
    "build.backend=onnxruntime", "build.precision=int8", "validate.pairs=20",
    "validate.teacher_engine=false", "validate.batch_sizes=[1]", "gates.student_top1_drop.max=1",
    "gates.engine_top1_drop.max=1", "gates.speedup.min=0.1",
    "gates.engine_images_agreement.min=0.2",
)  # fmt: skip


@pytest.mark.slow
def test_unlabelled_images_are_used_and_reported(
    tmp_path: Path, madpipe: Callable[..., tuple[int, str, str]]
) -> None:
    ignored = shutil.ignore_patterns(".madpipe", "unlabelled")
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=ignored)
    subprocess.run([sys.executable, "prepare.py"], cwd=tmp_path, check=True, capture_output=True)
    sets = [part for change in QUICK for part in ("--set", change)]
    code, output, errors = madpipe("run", "all", *sets)
    assert code == 0, errors
    statement = "not data-free: the student learned from 800 unlabelled images too"
    assert statement in output + errors
    report = json.loads(madpipe("report", "--format", "json", *sets)[1])
    used = report["real_images"]
    assert (used["learned"], used["held_back"], used["weight"]) == (800, 200, 1.0)
    assert list(report["images_agreement"]) == ["student", "onnx", "engine"]
    agreement = report["images_agreement"]["engine"]
    assert agreement["n"] == 200
    assert agreement["value"] > 0.3
    gates = {gate["name"]: gate for gate in report["gates"]}
    judged = gates["engine_images_agreement"]
    assert judged["value"] == agreement["value"]
    assert judged["interval"][0] < judged["value"] < judged["interval"][1]
    for form in ("markdown", "junit", "html"):
        assert statement in madpipe("report", "--format", form, "--out", "-", *sets)[1], form
    outputs = {
        name: entry for stage in report["stages"] for name, entry in stage["outputs"].items()
    }
    card = cards.read(Path(outputs["student"]["path"]))
    assert card is not None
    assert card.real_images is not None
    assert card.real_images.learned == 800
    manifest = json.loads(Path(outputs["manifest"]["path"]).read_bytes())
    assert manifest["real_images"] == used
    assert madpipe("package", "--out", "package", *sets)[0] == 0
    assert statement in (tmp_path / "package/README.md").read_text(encoding="utf-8")
