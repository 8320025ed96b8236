"""Commands tell GitHub only where it runs them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.execute import execute
from pipeline.project import Project

Call = Callable[..., tuple[int, str, str]]
Open = Callable[..., Project]


def test_gate_within_a_workflow_annotates_and_summarises_by_the_settings_of_now(
    project: Open, madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    code, _, err = madpipe("gate", "--set", "gates.speedup.min=50")
    assert code == 3
    assert err.startswith("::error title=madpipe%3A speedup fail::")
    assert "## madpipe: fail" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_gate_elsewhere_says_nothing_on_standard_error(project: Open, madpipe: Call) -> None:
    execute(project(), ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    assert madpipe("gate", "--set", "gates.speedup.min=50")[2] == ""


def test_gate_without_a_run_tells_its_own_error_only(
    madpipe: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline.toml").touch()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, out, err = madpipe("gate")
    assert (code, out) == (1, "")
    assert "holds no measurements" in err
