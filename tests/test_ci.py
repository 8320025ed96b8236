"""The files for CI systems parse, and what the action runs is run here for real."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flow.conftest import SMALL
from tests.flow.processes import ENTRY

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def step(name: str) -> dict[str, Any]:
    (matching,) = [item for item in ACTION["runs"]["steps"] if item["name"] == name]
    assert isinstance(matching, dict)
    return matching


@pytest.mark.parametrize("path", ["action.yml", "docs/ci/github.yml", "docs/ci/gitlab-ci.yml"])
def test_files_are_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")), dict)


def test_the_workflow_gives_the_action_only_inputs_that_it_has() -> None:
    workflow = yaml.safe_load((ROOT / "docs/ci/github.yml").read_text(encoding="utf-8"))
    action_step = workflow["jobs"]["gate"]["steps"][-1]
    assert action_step["uses"] == "./"
    assert action_step["with"].keys() <= ACTION["inputs"].keys()


def test_every_input_is_used_and_every_one_that_is_used_is_declared() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == ACTION["inputs"].keys()


def test_no_input_is_pasted_into_a_script() -> None:
    scripts = [item.get("run", "") for item in ACTION["runs"]["steps"]]
    assert not [script for script in scripts if "${{" in script]


def test_every_command_in_the_snippets_is_one_that_there_is() -> None:
    from pipeline.cli.main import app

    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }
    files = [ROOT / "action.yml", *(ROOT / "docs" / "ci").iterdir()]
    named = {
        word
        for path in files
        for word in re.findall(
            r"(?:bin/|- |; |^ +)madpipe (\w+)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert {"run", "report"} <= named <= known


def run_the_action(folder: Path, **inputs: str) -> "subprocess.CompletedProcess[str]":
    """Run the action's own script in a folder, with a madpipe on PATH that runs this code."""
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "madpipe"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{ENTRY}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    defaults = {name: str(declared["default"]) for name, declared in ACTION["inputs"].items()}
    values = {name.upper(): value for name, value in (defaults | inputs).items()}
    work = folder / "work"
    work.mkdir()
    (work / "pipeline.toml").touch()
    environment = (
        os.environ
        | values
        | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HOME_FOLDER": ".madpipe",
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        }
    )
    environment.pop("MADPIPE_HOME", None)
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step("Run")["run"]]
    return subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_action_fails_on_a_gate_and_leaves_every_report(tmp_path: Path) -> None:
    settings = "\n".join((*SMALL, "gates.speedup.min=1000"))
    process = run_the_action(tmp_path, settings=settings)
    assert process.returncode == 3, process.stderr
    assert (tmp_path / "output").read_text(encoding="utf-8") == "exit-code=3\n"
    reports = tmp_path / "work" / "madpipe-report"
    names = {path.name for path in reports.iterdir()}
    assert names == {
        "report.html",
        "report.json",
        "report.md",
        "junit.xml",
        "measurements.json",
        "samples.json",
    }
    assert json.loads((reports / "report.json").read_bytes())["gates"][0]["verdict"] == "fail"
    assert "::error title=madpipe%3A speedup fail::" in process.stderr
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert summary.count("## madpipe: fail") == 1


@pytest.mark.slow
def test_the_action_passes_on_the_exit_code_of_wrong_settings(tmp_path: Path) -> None:
    process = run_the_action(tmp_path, settings="no.such=1")
    assert process.returncode == 2
    assert (tmp_path / "output").read_text(encoding="utf-8") == "exit-code=2\n"


def test_a_crash_in_the_tests_ends_them(tmp_path: Path) -> None:
    """Where it is replaced, the crashed worker can leave the others waiting for ever."""
    (tmp_path / "test_it.py").write_text("import os\ndef test_it(): os._exit(1)\n", "utf-8")
    pytest_command = [sys.executable, "-m", "pytest", "--config-file", str(ROOT / "pyproject.toml")]
    options = ["--rootdir", str(tmp_path), "--numprocesses", "1", "--dist", "loadfile"]
    done = subprocess.run(
        [*pytest_command, *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1
    assert "worker gw0 crashed and worker restarting disabled" in done.stdout
