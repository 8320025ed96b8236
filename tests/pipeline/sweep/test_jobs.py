"""A job is a run in a process of its own: its events come here, and why it failed."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache.store import Store
from pipeline.events import Event
from pipeline.project import Project
from pipeline.sweep.combinations import Combination
from pipeline.sweep.jobs import (
    Job,
    LocalLauncher,
    emit_line,
    environment_without_ci,
    finished,
)

Open = Callable[..., Project]


class CommandJob(Job):
    """A job that runs a Python script in the place of madpipe."""

    __slots__ = ()
    script = ""

    def command(self, overrides: tuple[str, ...]) -> list[str]:
        """Return the command line of the script."""
        interpreter = super().command(overrides)[0]
        return [interpreter, "-c", self.script]


@pytest.fixture
def job(project: Open, tmp_path: Path) -> Job:
    """A job of one combination with a working folder of its own."""
    opened = project("seed=1")
    store = Store(tmp_path / "job")
    store.prepare()
    return Job((Combination(1, ("seed=1",), opened),), "distill", "a" * 64, "distill", store)


def scripted(job: Job, script: str) -> Job:
    """Return the job with a script to run."""
    kind = type("Scripted", (CommandJob,), {"script": script, "__slots__": ()})
    changed: Job = kind(*job)
    return changed


def test_what_trackers_write_does_not_go_with_the_folder_of_the_job(
    project: Open, tmp_path: Path
) -> None:
    def words(*settings: str) -> list[str]:
        opened = project("seed=1", *settings)
        one = Combination(1, ("seed=1",), opened)
        job = Job((one,), "distill", "a" * 64, "distill", Store(tmp_path / "job"))
        return job.command(opened.overrides)

    home = (tmp_path / ".madpipe").resolve()
    assert f'track.folder="{home}"' in words('track.to=["tensorboard"]')
    assert not [word for word in words() if word.startswith("track.folder")]
    named = words('track.to=["tensorboard"]', "track.folder=runs")
    assert [word for word in named if word.startswith("track.folder")] == ["track.folder=runs"]


def launch(job: Job, *, is_stopped: bool = False) -> tuple[int, str, list[Event]]:
    events: list[Event] = []
    launcher = LocalLauncher(threads=3, gpus=("5",))
    ended = launcher(job, events.append, lambda: is_stopped or bool(events and is_stopped))
    return ended.code, ended.error, events


def test_the_command_is_a_run_with_the_same_settings(job: Job) -> None:
    words = job.command(("seed=1", "teacher.weights='a b'"))
    assert words[4:7] == ["run", "distill", "--json"]
    assert words[-4:] == ["--set", "seed=1", "--set", "teacher.weights='a b'"]


def test_events_arrive_and_what_is_none_is_left_out() -> None:
    events: list[Event] = []
    line = {"time_s": 1.0, "kind": "progress", "stage": "distill", "done": 1, "total": 2}
    emit_line(json.dumps(line).encode(), events.append)
    for broken in (b'{"time_s": 1.0, "ki', b"hello\n", b'{"kind": "x"}', b"[1]"):
        emit_line(broken, events.append)
    fields = {"done": 1, "total": 2}
    assert events == [Event(time_s=1.0, kind="progress", stage="distill", fields=fields)]


def test_a_job_gets_its_folder_its_threads_and_its_gpu(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    names = ("MADPIPE_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "GITHUB_ACTIONS")
    script = (
        "import json, os\n"
        f"values = {{name: os.environ.get(name) for name in {names!r}}}\n"
        "print(json.dumps({'time_s': 0, 'kind': 'seen'} | values))\n"
    )
    code, _, (event,) = launch(scripted(job, script))
    assert code == 0
    assert event.fields == {
        "MADPIPE_HOME": str(job.store.home),
        "OMP_NUM_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "5",
        "GITHUB_ACTIONS": None,
    }


def test_threads_that_the_user_chose_stay(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    script = (
        "import json, os\n"
        "print(json.dumps({'time_s': 0, 'kind': 'x', 'n': os.environ['OMP_NUM_THREADS']}))\n"
    )
    assert launch(scripted(job, script))[2][0].fields == {"n": "7"}


def test_a_stop_is_passed_on(job: Job) -> None:
    script = (
        "import json, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
        "print(json.dumps({'time_s': 0, 'kind': 'ready'}), flush=True)\n"
        "signal.pause()\n"
    )
    events: list[Event] = []
    launcher = LocalLauncher(threads=1, gpus=())
    ended = launcher(scripted(job, script), events.append, lambda: bool(events))
    assert (ended.code, ended.error) == (130, "")


def test_after_a_stop_nothing_starts(job: Job) -> None:
    assert launch(scripted(job, "raise SystemExit(1)"), is_stopped=True) == (130, "", [])


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("import sys; sys.exit('settings: are wrong; correct each')", "settings: are wrong"),
        ("import sys; sys.exit(5)", "distill: its process ended with exit code 5"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "distill: its process was ended by the system (SIGKILL); fewer --jobs",
        ),
    ],
)
def test_why_a_job_failed_is_its_last_line_or_its_signal(job: Job, script: str, error: str) -> None:
    assert launch(scripted(job, script))[1].startswith(error)


def test_what_the_run_recorded_says_it_better(job: Job) -> None:
    record = {
        "started_utc": "", "command": "", "elapsed_s": 1.0,
        "stages": [{"name": "distill", "status": "failed", "key": None, "message": "a: b; c"}],
    }  # fmt: skip
    (job.store.runs_path / "1.json").write_text(json.dumps(record), encoding="utf-8")
    assert finished(job, 1).error == "a: b; c"
    (job.store.runs_path / "2.json").write_text("no record", encoding="utf-8")
    assert finished(job, -signal.SIGTERM).error.startswith("distill: its process was ended")


def test_the_variables_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "x")
    assert environment_without_ci() == {
        name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"
    }
