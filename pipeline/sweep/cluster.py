"""Jobs of a sweep as jobs of Slurm, by submitit; it needs `madpipe[slurm]`.

A job writes its events to a file in its working folder, which this process follows, and ends with
a checkpoint when a file `stop` appears there. So the working folder must lie on a disk that all
machines have, and `cluster=local` runs the same without Slurm.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import exit_codes
from pipeline.errors import MadpipeError, UnavailableError, UsageError, first_line
from pipeline.sweep.jobs import (
    Finished,
    Job,
    OnEvent,
    StopAsked,
    emit_line,
    environment_without_ci,
    finished,
    home_variable,
)

_POLL_S = 0.5
_EVENTS = "output.jsonl"
_STOP = "stop"
_CLUSTER = "cluster"


class ClusterLauncher:
    """Runs each job as one of a cluster."""

    def __init__(self, folder: Path, parameters: Mapping[str, str | int]) -> None:
        """Keep the cluster's logs in `folder`; `parameters` are submitit's, and `cluster`.

        Raises:
            UnavailableError: submitit is not installed, or there is no such cluster here.
            UsageError: submitit knows no such parameter.
        """
        # Else its import sets up logging anew: it closes what other libraries log to, and writes to
        # standard output, where our lines of JSON are.
        os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
        try:
            import submitit  # noqa: PLC0415  (an extra)
        except ModuleNotFoundError as error:
            wrong = "needs a package that is not installed (submitit)"
            raise UnavailableError("--executor slurm", wrong, "install madpipe[slurm]") from error
        options = dict(parameters)
        cluster = str(options.pop(_CLUSTER, "slurm"))
        try:
            self._executor: Any = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except (RuntimeError, ValueError) as error:
            wrong = f"cannot be used here ({cluster}: {first_line(error)})"
            remedy = "run it where Slurm is, or try it with --slurm cluster=local"
            raise UnavailableError("--executor slurm", wrong, remedy) from error
        try:
            self._executor.update_parameters(name="madpipe", **options)
        except (NameError, TypeError, ValueError, AssertionError) as error:
            wrong = f"is no parameter of submitit ({first_line(error)})"
            raise UsageError("--slurm", wrong, "see submitit's AutoExecutor") from error
        self._submitting = threading.Lock()

    def __call__(self, job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        """Submit the job and follow it to its end; a stop is passed on to it."""
        if stop_asked():
            return Finished(job, exit_codes.INTERRUPTED, "")
        home = job.store.home.resolve()
        (home / _STOP).unlink(missing_ok=True)
        (home / _EVENTS).write_bytes(b"")
        command = job.command(job.combinations[0].project.overrides)
        variables = home_variable(job)
        # What a cluster raises for a job that it refuses or ended is of several libraries.
        try:
            with self._submitting:
                submitted = self._executor.submit(run_on_node, command, variables, str(home))
        except Exception as error:  # noqa: BLE001
            wrong = f"the cluster takes no job ({first_line(error)})"
            remedy = "see what Slurm says of it, then repeat the command"
            return Finished(job, exit_codes.FAILED, f"{job.stage}: {wrong}; {remedy}")
        try:
            is_stopped = self._follow_job(submitted, home, on_event, stop_asked)
        except (OSError, MadpipeError):  # its events cannot be read, or not be shown
            submitted.cancel()
            raise
        if is_stopped:
            return Finished(job, exit_codes.INTERRUPTED, "")
        try:
            code = int(submitted.result())
        except Exception as error:  # noqa: BLE001
            wrong = f"the cluster ended its job {submitted.job_id} ({first_line(error)})"
            remedy = f"see {submitted.paths.stderr}; the same command goes on from here"
            return Finished(job, exit_codes.FAILED, f"{job.stage}: {wrong}; {remedy}")
        return finished(job, code)

    def _follow_job(
        self, submitted: Any, home: Path, on_event: OnEvent, stop_asked: StopAsked
    ) -> bool:
        """Emit a job's events until it ends; return whether it was stopped.

        Raises:
            MadpipeError: Its events cannot be shown.
            OSError: They cannot be read.
        """
        with (home / _EVENTS).open("rb") as events:
            is_stopped = False
            while not submitted.done():
                _follow(events, on_event)
                if stop_asked() and not is_stopped:
                    is_stopped = True
                    _stop(submitted, home)
                time.sleep(_POLL_S)
            _follow(events, on_event)
        return is_stopped


def _stop(submitted: Any, home: Path) -> None:
    """Ask a job to end with its checkpoint; one that waits, or cannot be asked, is cancelled."""
    is_asked = True
    try:
        (home / _STOP).touch()
    except OSError:  # the disk on which it keeps its checkpoint is full or gone
        is_asked = False
    if not is_asked or submitted.state == "PENDING":
        submitted.cancel()


def _follow(events: Any, on_event: OnEvent) -> None:
    """Emit the lines that are whole by now."""
    while True:
        place = events.tell()
        line = events.readline()
        if not line.endswith(b"\n"):
            events.seek(place)
            return
        emit_line(line, on_event)


def run_on_node(command: Sequence[str], variables: Mapping[str, str], folder: str) -> int:
    """Run a job's command where the cluster has put it; return its exit code.

    `variables` are added to those of the node. Called by submitit in the job's own process.
    """
    home = Path(folder)
    with (
        (home / _EVENTS).open("ab") as events,
        (home / "errors.txt").open("wb") as errors,
        subprocess.Popen(  # noqa: S603  (this program, with settings as arguments)
            command,
            stdin=subprocess.DEVNULL,
            stdout=events,
            stderr=errors,
            env=environment_without_ci() | dict(variables),
        ) as process,
    ):
        is_asked = False
        while process.poll() is None:
            if not is_asked and (home / _STOP).exists():
                process.terminate()
                is_asked = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
    return process.returncode
