"""init writes settings to start from and never overwrites unasked; doctor always works."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import load as config
from pipeline.config import template
from pipeline.config.presets import PRESETS
from pipeline.settings import Settings

Call = Callable[..., tuple[int, str, str]]


def test_init_writes_the_defaults(madpipe: Call, tmp_path: Path) -> None:
    assert madpipe("init")[:2] == (0, "wrote pipeline.toml; next: madpipe run all\n")
    assert config.load(tmp_path / "pipeline.toml") == Settings()


def test_init_with_a_preset_writes_it(madpipe: Call, tmp_path: Path) -> None:
    madpipe("init", "--preset", "folder", "--config", "mine.toml")
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert text == template.render(PRESETS["folder"])


def test_init_does_not_overwrite_unasked(madpipe: Call, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text("seed = 3\n", encoding="utf-8")
    code, _, err = madpipe("init")
    assert (code, err) == (
        2,
        "pipeline.toml: is already there; give --overwrite or another --config\n",
    )
    assert (tmp_path / "pipeline.toml").read_text(encoding="utf-8") == "seed = 3\n"
    assert madpipe("init", "--overwrite")[0] == 0


def test_init_where_nothing_can_be_written_is_exit_code_1(madpipe: Call) -> None:
    assert madpipe("init", "--config", "no/such.toml") == (
        1,
        "",
        "no/such.toml: cannot be written (No such file or directory); give another --config\n",
    )


@pytest.mark.slow
def test_doctor_works_without_any_settings(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    script = "from pipeline.cli.main import main; main(['doctor', '--json'])"
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (process.returncode, process.stderr) == (0, "")
    findings = json.loads(process.stdout)
    assert len(findings) > 3
    assert all({"name", "state", "detail", "fix"} <= finding.keys() for finding in findings)


def test_doctor_refuses_a_settings_file_that_is_not_there(madpipe: Call) -> None:
    result = madpipe("doctor", "--config", "nothere.toml")
    assert result == (2, "", "nothere.toml: no such file; correct --config or leave it out\n")
