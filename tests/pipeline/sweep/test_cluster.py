"""Jobs through submitit, on its own cluster without Slurm: real processes, real files."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.events import Event
from pipeline.sweep.cluster import ClusterLauncher, run_on_node
from pipeline.sweep.jobs import Finished, Job
from tests.pipeline.sweep.test_jobs import job, scripted

__all__ = ["job"]
READY = (
    "import json, os, signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
    "event = {'time_s': 0, 'kind': 'x', 'home': os.environ['MADPIPE_HOME']}\n"
    "print(json.dumps(event), flush=True)\n"
)


def launch(job: Job, tmp_path: Path, *, stops: bool = False) -> tuple[Finished, list[Event]]:
    launcher = ClusterLauncher(tmp_path / "submitit", {"cluster": "local", "timeout_min": 5})
    events: list[Event] = []
    return launcher(job, events.append, lambda: stops and bool(events)), events


@pytest.mark.slow
def test_events_and_the_exit_code_come_back(job: Job, tmp_path: Path) -> None:
    ended, (event,) = launch(scripted(job, READY + "sys.exit('a: b; c')"), tmp_path)
    assert (ended.code, ended.error) == (1, "a: b; c")
    assert event.fields == {"home": str(job.store.home)}


@pytest.mark.slow
def test_a_stop_reaches_the_job(job: Job, tmp_path: Path) -> None:
    ended, events = launch(scripted(job, READY + "signal.pause()"), tmp_path, stops=True)
    assert (ended.code, len(events)) == (130, 1)


@pytest.mark.slow
def test_a_job_that_cannot_be_asked_to_stop_is_cancelled(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, *_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "touch", fail)
    ended, _ = launch(scripted(job, READY + "signal.pause()"), tmp_path, stops=True)
    assert ended.code == 130


def test_a_job_that_the_cluster_refuses_is_one_that_failed(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit

    def refuse(*_args: object) -> None:
        raise submitit.core.utils.FailedJobError("sbatch: error: invalid partition\nmore")

    monkeypatch.setattr(submitit.AutoExecutor, "submit", refuse)
    ended, _ = launch(job, tmp_path)
    assert ended.code == 1
    assert "the cluster takes no job (sbatch: error: invalid partition); see" in ended.error


def test_the_part_on_the_node_writes_events_and_answers_a_stop(job: Job) -> None:
    home = job.store.home
    command = scripted(job, READY + "signal.pause()").command(())
    (home / "stop").touch()
    code = run_on_node(command, {"MADPIPE_HOME": str(home)}, str(home))
    assert code in {130, -15}  # before or after it set its handler


def test_a_parameter_that_submitit_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no parameter of submitit"):
        ClusterLauncher(tmp_path, {"cluster": "local", "colour": "red"})


def test_logging_of_this_process_stays_as_it_is(tmp_path: Path) -> None:
    """It would close what other libraries log to, and write between our lines of JSON."""
    program = (
        "import logging, pathlib, sys\n"
        "from pipeline.sweep.cluster import ClusterLauncher\n"
        "logging.getLogger().addHandler(logging.FileHandler('log', mode='w'))\n"
        "ClusterLauncher(pathlib.Path('jobs'), {'cluster': 'local'})\n"
        "assert logging.getLogger().handlers[0].stream is not None\n"
        "logging.getLogger('submitit').error('x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
