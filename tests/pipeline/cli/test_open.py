"""The one place that knows core and stages opens projects with the five stages."""

from pathlib import Path

import pytest

from pipeline.cli.open import inconclusive_code, open_project
from pipeline.errors import ConfigError, UsageError


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
    project = open_project(config, ["distill.batch_size=96"])
    assert project.settings.distill.processes == 3
    with pytest.raises(ConfigError, match=r"does not divide into 3 parts .* \(128\)"):
        open_project(config, [])
    with pytest.raises(ConfigError, match="keeps its memory in one process"):
        open_project(config, ["distill.batch_size=96", "distill.method=dfkd-mem"])


@pytest.mark.usefixtures("torchrun")
def test_another_number_than_torchrun_started_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.toml"
    config.touch()
    with pytest.raises(UsageError, match="torchrun started 3 processes, the settings say 4"):
        open_project(config, ["distill.processes=4", "distill.batch_size=96"])
