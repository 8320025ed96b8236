"""Jobs that run side by side: each is `madpipe run STAGE --json`, a process of its own.

So a job keeps checkpoints, answers signals and ends with the exit codes of any other run, and one
that the system kills takes no other with it. Its events come through a pipe: where this process is
killed, the job ends at the next thing that it reports.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import NamedTuple, Protocol

import msgspec

from pipeline import exit_codes, run_records, stored_files
from pipeline.cache.store import Store
from pipeline.errors import StoreError
from pipeline.events import Event
from pipeline.signals import STOPS_WITH_READER
from pipeline.sweep.combinations import Combination

_ENTRY = "from pipeline.cli.main import main; main()"
_POLL_S = 0.2
_CI_VARIABLES = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
"""The sweep as a whole reports to CI; its jobs do not."""

OnEvent = Callable[[Event], None]
StopAsked = Callable[[], bool]


class Job(NamedTuple):
    """Stages to bring up for one combination, or for all that share them."""

    combinations: tuple[Combination, ...]
    """That need the first of its stages; the settings are those of the first combination."""
    stage: str
    """The first stage that is not stored."""
    key: str
    """Its key."""
    target: str
    """The last stage to run."""
    store: Store
    """The working folder of its own."""

    def command(self, overrides: tuple[str, ...]) -> list[str]:
        """Return the command line; `overrides` are all changes of its settings.

        What trackers write goes where the sweep's own runs write: the job's folder does not stay.
        """
        project = self.combinations[0].project
        config, track = project.path.resolve(), project.settings.track
        if track.to and track.folder is None:
            home = json.dumps(str(project.store.home.resolve()))
            overrides = (*overrides, f"track.folder={home}")
        words = [sys.executable, "-P", "-c", _ENTRY, "run", self.target, "--json"]
        words += ["--config", str(config)]
        return words + [word for change in overrides for word in ("--set", change)]


class Finished(NamedTuple):
    """A job that ended."""

    job: Job
    code: int
    error: str
    """Why it failed; empty where it did not."""


class Launcher(Protocol):
    """Runs one job to its end; called by several threads at once."""

    def __call__(self, job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        """Return how the job ended; every event that it emits goes to `on_event`."""


class LocalLauncher:
    """Runs jobs on this machine, each on its share of the cores and on GPUs of its own."""

    def __init__(self, *, threads: int, gpus: tuple[str, ...]) -> None:
        """Give each job so many `threads`, and one of `gpus` while it runs, where there are any.

        Each of them is a value of CUDA_VISIBLE_DEVICES.
        """
        self._threads = threads
        self._gpus: Queue[str] = Queue()
        for gpu in gpus:
            self._gpus.put(gpu)
        self._has_gpus = bool(gpus)

    def __call__(self, job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        """Run the job; a stop is passed on to it, and it ends with its checkpoint."""
        if stop_asked():
            return Finished(job, exit_codes.INTERRUPTED, "")
        with self._gpu() as gpu:
            environment = environment_without_ci() | home_variable(job) | gpu
            environment[STOPS_WITH_READER] = "1"
            environment.setdefault("OMP_NUM_THREADS", str(self._threads))
            errors = job.store.home / "errors.txt"
            with (
                errors.open("wb") as stream,
                subprocess.Popen(  # noqa: S603  (this program, with settings as arguments)
                    job.command(job.combinations[0].project.overrides),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    env=environment,
                ) as process,
            ):
                watcher = threading.Thread(target=_pass_on, args=(process, stop_asked), daemon=True)
                watcher.start()
                assert process.stdout is not None
                for line in process.stdout:
                    emit_line(line, on_event)
                code = process.wait()
                watcher.join()
        return finished(job, code)

    @contextlib.contextmanager
    def _gpu(self) -> Iterator[dict[str, str]]:
        if not self._has_gpus:
            yield {}
            return
        gpu = self._gpus.get()
        try:
            yield {"CUDA_VISIBLE_DEVICES": gpu}
        finally:
            self._gpus.put(gpu)


def _pass_on(process: "subprocess.Popen[bytes]", stop_asked: StopAsked) -> None:
    """Ask the process to stop once a stop was asked for; return when it has ended."""
    is_asked = False
    while process.poll() is None:
        if stop_asked() and not is_asked:
            process.terminate()
            is_asked = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)


def environment_without_ci() -> dict[str, str]:
    """Return the variables of this process without those that make a run report to CI."""
    return {name: value for name, value in os.environ.items() if name not in _CI_VARIABLES}


def home_variable(job: Job) -> dict[str, str]:
    """Return the variable that gives a job its own working folder."""
    return {"MADPIPE_HOME": str(job.store.home.resolve())}


def emit_line(line: bytes, on_event: OnEvent) -> None:
    """Emit the event of one line of `--json`; what is none is left out."""
    try:
        fields = stored_files.decode(line, dict[str, object])
        head: dict[str, object] = {
            name: fields.pop(name) for name in ("time_s", "kind", "stage") if name in fields
        }
        event = msgspec.convert(head | {"fields": fields}, Event)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return  # a kill can cut the last line short
    on_event(event)


def finished(job: Job, code: int) -> Finished:
    """Return how a job ended, with the reason that its record, else its standard error, has."""
    if code in {exit_codes.DONE, exit_codes.INTERRUPTED}:
        return Finished(job, code, "")
    return Finished(job, code, _recorded_failure(job.store) or _reason(job, code))


def _recorded_failure(store: Store) -> str | None:
    try:
        record = run_records.latest(store)
    except StoreError:
        return None
    messages = [stage.message for stage in record.stages if stage.message] if record else []
    return messages[-1] if messages else None


def _reason(job: Job, code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        remedy = "fewer --jobs, where memory ran out; the same command goes on from here"
        return f"{job.stage}: its process was ended by the system ({name}); {remedy}"
    path: Path = job.store.home / "errors.txt"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"{job.stage}: its process ended with exit code {code}"
