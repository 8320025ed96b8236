"""Without torchrun the command is one process; under it, ranks above 0 are its workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import torchrun

ROOT = Path(__file__).parents[3]


def test_a_plain_command_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "1")
    assert not torchrun.is_worker()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_ranks_above_0_of_torchrun_are(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", rank)
    assert torchrun.is_worker() is (rank == "1")


def test_without_torchrun_nothing_heavy_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    before = set(sys.modules)
    with torchrun.workers_released():
        pass
    assert not {name for name in set(sys.modules) - before if name.startswith("torch")}


ASKED_TO_END_WHILE_IT_REPORTS = """
import signal
from pipeline import run_records
from pipeline.cli.main import main
from pipeline.errors import StageError
from pipeline.runner import Runner

save = run_records.save

def fail(*_):
    raise StageError("distill.processes", "a process was lost", "look for what ended it")

def asked_to_end(*arguments):
    signal.raise_signal(signal.SIGTERM)
    save(*arguments)

Runner.run, run_records.save = fail, asked_to_end
main(["run", "teacher"])
"""


def test_why_a_run_failed_is_reported_although_torchrun_ends_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").touch()
    torchruns = {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",  # any that is free
    }
    done = subprocess.run(
        [sys.executable, "-c", ASKED_TO_END_WHILE_IT_REPORTS],
        cwd=tmp_path,
        env=os.environ | torchruns | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    wanted = "distill.processes: a process was lost; look for what ended it\n"
    assert (done.returncode, done.stderr) == (1, wanted)
    assert len(list(tmp_path.glob(".madpipe/runs/*.json"))) == 1
