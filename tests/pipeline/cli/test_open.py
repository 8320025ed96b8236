"""The one place that knows core and stages opens projects with the five stages."""

from pathlib import Path

import pytest

from pipeline.cli.open import inconclusive_code, open_project


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
