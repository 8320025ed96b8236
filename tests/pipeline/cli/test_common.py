"""What commands share: projects with the five stages, options, written results, the CI report."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.common import inconclusive_code, open_project, write_columns, write_json
from pipeline.errors import ConfigError, UsageError
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline

Call = Callable[..., tuple[int, str, str]]
Open = Callable[..., Project]


@pytest.mark.parametrize(("choice", "expected"), [(None, 4), ("pass", 0), ("fail", 3)])
def test_choice_for_inconclusive_gates_is_an_exit_code(choice: str | None, expected: int) -> None:
    assert inconclusive_code(choice) == expected


def test_project_of_the_command_has_the_five_stages_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MADPIPE_HOME", raising=False)
    (tmp_path / "pipeline.toml").touch()
    project = open_project(tmp_path / "pipeline.toml", ["seed=3"])
    names = [stage.name for stage in project.stages]
    assert names == ["teacher", "distill", "export", "build", "validate"]
    assert project.settings.seed == 3


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be one of three processes that torchrun started."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("WORLD_SIZE", "3")


@pytest.mark.usefixtures("torchrun")
def test_processes_of_torchrun_are_part_of_the_settings_and_their_rules(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.touch()
    mad = ["distill.batch_size=96", "distill.method=mad"]
    project = open_project(config, mad)
    assert project.settings.distill.processes == 3
    with pytest.raises(ConfigError, match=r"does not divide into 3 parts .* \(128\)"):
        open_project(config, ["distill.method=mad"])
    with pytest.raises(ConfigError, match="keeps its memory in one process"):
        open_project(config, ["distill.batch_size=96"])
    with pytest.raises(ConfigError, match=r"CUDA graph \(3\);.*torchrun \(3 now\)"):
        open_project(config, [*mad, "distill.compile=cuda-graphs"])


@pytest.mark.usefixtures("torchrun")
def test_another_number_than_torchrun_started_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.touch()
    with pytest.raises(UsageError, match="torchrun started 3 processes, the settings say 4"):
        open_project(config, ["distill.processes=4", "distill.batch_size=96", "distill.method=mad"])


RUNNING = ["run", "distill", "export", "build", "validate"]
READING = ["plan", "status", "why", "gate"]


def options(madpipe: Call, command: str) -> set[str]:
    code, out, _ = madpipe(*command.split(), "--help")
    assert code == 0
    return set(re.findall(r"--[a-z-]+", out))


@pytest.mark.parametrize("command", RUNNING)
def test_commands_that_run_take_the_same_options(madpipe: Call, command: str) -> None:
    assert {"--config", "--set", "--force", "--json"} <= options(madpipe, command)


@pytest.mark.parametrize("command", READING)
def test_commands_that_read_take_the_same_options(madpipe: Call, command: str) -> None:
    assert {"--config", "--set", "--json"} <= options(madpipe, command)


@pytest.mark.parametrize("command", ["run", "gate"])
def test_commands_that_judge_take_inconclusive(madpipe: Call, command: str) -> None:
    assert "--inconclusive" in options(madpipe, command)


@pytest.mark.parametrize("command", ["ls", "verify", "gc", "push", "pull"])
def test_commands_on_the_cache_take_a_config(madpipe: Call, command: str) -> None:
    assert "--config" in options(madpipe, f"cache {command}")


def test_columns_are_aligned_and_end_without_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    write_columns([("a", "bbb", "c"), ("aaa", "b", "")])
    assert capsys.readouterr().out == "a    bbb  c\naaa  b\n"
    write_columns([])
    assert capsys.readouterr().out == ""


def test_json_takes_paths_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"path": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"path": "x"}


def test_gate_within_a_workflow_annotates_and_summarises_by_the_settings_of_now(
    project: Open, madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_pipeline(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    code, _, err = madpipe("gate", "--set", "gates.speedup.min=50")
    assert code == 3
    assert err.startswith("::error title=madpipe%3A speedup fail::")
    assert "## madpipe: fail" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_gate_outside_of_a_workflow_writes_nothing_to_standard_error(
    project: Open, madpipe: Call
) -> None:
    run_pipeline(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    assert madpipe("gate", "--set", "gates.speedup.min=50")[2] == ""


def test_gate_without_a_run_reports_its_own_error_only(
    madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline.toml").touch()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, out, err = madpipe("gate")
    assert (code, out) == (1, "")
    assert "holds no measurements" in err
