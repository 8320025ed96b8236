"""The whole pipeline on real digits with default settings, through the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import MakeFolder
from tests.flow.processes import Folder, Result, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STAGES = ["teacher", "distill", "export", "build", "validate"]
HEAVY = {
    "torch", "onnx", "onnxruntime", "numpy", "torchvision", "sklearn", "PIL", "psutil",
    "safetensors",
}  # fmt: skip

WITH_MODULE_LIST = """
import atexit, sys

atexit.register(lambda: open(sys.argv[1], "w").write("\\n".join(sys.modules)))
from pipeline.cli.main import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def folder(make_folder: MakeFolder) -> Folder:
    return make_folder(small=False)


@pytest.fixture(scope="module")
def first(folder: Folder) -> Result:
    """The first run, with nothing stored; KEEP_RUN names a folder that gets what it stored."""
    result = folder.run("run", "all", "--json")
    if kept := os.environ.get("KEEP_RUN"):
        shutil.copytree(folder.path / ".madpipe", kept)
    return result


@pytest.fixture(scope="module")
def report(folder: Folder, first: Result) -> dict[str, Any]:
    """The report after the first run."""
    assert first.code == 0, first.errors
    command = folder.command("report", "--format", "json")
    process = subprocess.run(
        command, cwd=folder.path, env=environment(), capture_output=True, text=True, check=True
    )
    document: dict[str, Any] = json.loads(process.stdout)
    return document


def test_the_run_ends_with_0_and_every_stage_ran(first: Result) -> None:
    assert first.code == 0, (first.errors, first.events[-4:])
    assert first.statuses() == dict.fromkeys(STAGES, "ran")
    assert first.errors == ""


def test_the_teacher_is_good_and_the_student_close_to_it(report: dict[str, Any]) -> None:
    accuracy = {name: network["top1"] for name, network in report["accuracy"].items()}
    assert accuracy["teacher"] >= 0.985
    assert accuracy["student"] >= accuracy["teacher"] - 0.03
    assert accuracy["onnx"] == accuracy["student"]
    assert abs(accuracy["engine"] - accuracy["student"]) <= 0.005
    assert {network["n"] for network in report["accuracy"].values()} == {540}


def test_the_report_names_every_stage_with_its_key_and_its_files(report: dict[str, Any]) -> None:
    assert report["schema"] == "madpipe.report/1"
    assert [stage["name"] for stage in report["stages"]] == STAGES
    for stage in report["stages"]:
        assert stage["status"] in {"hit", "ran", "resumed"}
        assert len(stage["key"]) == 64
        assert stage["seconds"] >= 0
        for output in stage["outputs"].values():
            assert Path(output["path"]).stat().st_size == output["bytes"]
            assert len(output["sha256"]) == 64
    assert "student" in report["stages"][1]["outputs"]


def test_the_report_has_latency_and_gates_as_outside_checks_read_them(
    report: dict[str, Any],
) -> None:
    assert list(report["accuracy"]) == ["teacher", "student", "onnx", "engine"]
    for network in ("teacher", "engine"):
        latency = report["latency"][network]
        assert latency["batch"] == 1
        assert latency["n"] == 400
        assert latency["p50_ms"] > 0
        assert latency["p99_ms"] is None
    speedup = report["latency"]["speedup"]
    low, high = speedup["interval"]
    assert low <= speedup["median"] <= high
    assert (speedup["confidence"], speedup["pairs"]) == (0.95, 400)
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert set(gates) == {"student_top1_drop", "engine_top1_drop", "speedup"}
    for gate in gates.values():
        assert gate["verdict"] == "pass"
        assert {"value", "interval", "threshold", "reason"} <= gate.keys()
    assert report["environment"]["torch"]


def test_the_same_command_again_is_all_hits_and_imports_nothing_heavy(
    folder: Folder, first: Result, tmp_path: Path
) -> None:
    assert first.code == 0, first.errors
    modules = tmp_path / "modules.txt"
    process = subprocess.run(
        [sys.executable, "-c", WITH_MODULE_LIST, str(modules), "run", "all", "--json"],
        cwd=folder.path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    events = [json.loads(line) for line in process.stdout.splitlines()]
    statuses = [e["status"] for e in events if e["kind"] == "stage_done"]
    assert statuses == ["hit"] * len(STAGES)
    loaded = {name.partition(".")[0] for name in modules.read_text().splitlines()}
    assert "pipeline" in loaded
    assert loaded & HEAVY == set()


def test_a_changed_gate_measures_nothing_again_and_can_fail(folder: Folder, first: Result) -> None:
    assert first.code == 0, first.errors
    strict = Folder(folder.path, ("gates.speedup.min=1e9",))
    result = strict.run("run", "all", "--json")
    assert result.code == 3
    assert set(result.statuses().values()) == {"hit"}


def test_damage_to_a_stored_file_is_detected_and_only_that_stage_runs_again(
    folder: Folder, first: Result
) -> None:
    assert first.code == 0, first.errors
    onnx = folder.output("export", "student.onnx")
    before = onnx.read_bytes()
    onnx.chmod(0o644)
    onnx.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    result = folder.run("run", "all", "--json")
    assert result.code == 0, result.errors
    ran = {name for name, status in result.statuses().items() if status == "ran"}
    assert ran == {"export"}
    assert folder.output("export", "student.onnx").read_bytes() == before
