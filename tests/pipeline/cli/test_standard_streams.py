"""Streams that are closed, full, or read by what goes away are no fault of what a command does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.signals import STOPS_WITH_READER

ROOT = Path(__file__).parents[3]
MAIN = "from pipeline.cli.main import main; main()"
FULL = Path("/dev/full")


def start(
    folder: Path, *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", MAIN, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=stderr,
        text=True,
    )


def test_a_closed_stream_is_led_to_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert sys.stdout.name == os.devnull


@pytest.mark.parametrize("arguments", [("plan",), ("plan", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "pipeline.toml").touch()
    with start(tmp_path, *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_a_job_whose_sweep_is_gone_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STOPS_WITH_READER, "1")
    (tmp_path / "pipeline.toml").touch()
    with start(tmp_path, "plan", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() == 130


def test_an_error_keeps_its_code_where_nobody_reads_it(tmp_path: Path) -> None:
    with start(tmp_path, "plan", "--no-such-option") as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait() == 2


@pytest.mark.skipif(not FULL.exists(), reason="no file here that is always full")
def test_a_full_disk_under_standard_output_is_named(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    with (
        FULL.open("w", encoding="utf-8") as full,
        start(tmp_path, "plan", stdout=full.fileno()) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == (
        "standard output: cannot be written (No space left on device); free space there or write "
        "it elsewhere, then repeat the command; what is stored stays\n"
    )
