"""The processes of one training: started here, or by torchrun on one machine or many.

The process that runs the stage is rank 0. It alone touches the store, and it alone keeps
checkpoints, since every process holds the same state. The others get their job, the teacher
and the checkpoint as bytes, so they need no common file system.
"""

import contextlib
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import (
    ProcessException,
    ProcessExitedException,
    start_processes,
)

from pipeline.errors import error_summary
from pipeline.stage import StageError
from stages.distill.distributed import worker
from stages.distill.distributed.group import Group
from stages.distill.distributed.rendezvous import POLL_S, START_KEY, join, torchrun_store
from stages.distill.job import Job

_TERMINATE_TIMEOUT_S = 10.0
_LOSS_SHOWS_S = 2.0
_MESSAGE_CHARACTERS = 600
_UNREAD = StageError(
    "distill.processes",
    "a process was lost (it was ended while it wrote its error)",
    "the same command goes on from the last checkpoint",
)
_OWN_ERROR = re.compile(r"^pipeline\.errors\.\w+: ")


@contextlib.contextmanager
def process_group(job: Job, teacher: Path, checkpoint: Path | None) -> Iterator[Group]:
    """Yield the group of processes; those above rank 0 have the job by then and have begun.

    Raises:
        StageError: A process ended before its time, or has no device; the checkpoint stays.
    """
    store = torchrun_store()
    size = int(os.environ["WORLD_SIZE"]) if store else job.options.processes
    if size == 1:
        yield Group()
        return
    threads = torch.get_num_threads()
    workers: Workers | None = None
    try:
        if store:
            store.set(START_KEY, "join")
        else:
            store = TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
            torch.set_num_threads(max(1, threads // size))
            workers = Workers(size, store.port)
        check: Callable[[], None] = workers.check if workers else lambda: None
        join(store, 0, size, check)
        # torch pickles this on the way. Who could send the others a harmful pickle could as well
        # send them a job that names a file of code.
        contents = [job, teacher.read_bytes(), checkpoint.read_bytes() if checkpoint else None]
        dist.broadcast_object_list(contents, src=0)
        yield Group(0, size, check)
        check()
    except (RuntimeError, StageError) as error:
        # A lost process shows first as a message that fails, or as rubbish in the losses.
        if workers and (dist.is_initialized() or isinstance(error, RuntimeError)):
            workers.check(_LOSS_SHOWS_S, instead_of=error)
        elif isinstance(error, dist.DistError) or "gloo" in str(error):
            raise StageError(
                "distill.processes",
                f"a message between the processes of torchrun failed ({error_summary(error)})",
                "it reports which was lost; the same command goes on from the last checkpoint",
            ) from error
        raise
    finally:
        if workers:
            workers.close()
        torch.set_num_threads(threads)
        if dist.is_initialized():
            dist.destroy_process_group()


class Workers:
    """The processes above rank 0, started on this machine and watched by a thread."""

    def __init__(self, size: int, port: int) -> None:
        """Start `size` - 1 of them, which find the store at `port`."""
        self._size = size
        self._processes = start_processes(  # type: ignore[no-untyped-call]
            worker.run, (size, port, torch.get_num_threads()), nprocs=size - 1, join=False
        )
        self._error: StageError | None = None
        self._has_refused = False
        self._is_lost, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def check(self, wait_s: float = 0.0, instead_of: Exception | None = None) -> None:
        """Raise the error of a worker that ended before its time, now or within `wait_s`.

        `instead_of` is the error of rank 0, which holds where the worker refused the same.
        """
        if not (self._is_lost.wait(wait_s) and self._error):
            return
        if not (isinstance(instead_of, StageError) and self._has_refused):
            raise self._error

    def close(self) -> None:
        """End them all."""
        self._is_over.set()
        self._thread.join()
        for process in self._processes.processes:
            process.terminate()
        # A worker may be ended while it writes its error, and torch then reads half of it.
        with contextlib.suppress(ProcessException, EOFError, pickle.UnpicklingError):
            while not self._processes.join(grace_period=_TERMINATE_TIMEOUT_S):
                pass
        for file in self._processes.error_files:
            Path(file).unlink(missing_ok=True)

    def _watch(self) -> None:
        """End all messages once a worker is lost, for which NCCL waits and raises nothing.

        They leave rubbish on the GPU then: `check` comes before anything of it is kept.
        """
        try:
            while not (self._is_over.is_set() or self._processes.join(POLL_S)):
                pass
        except (ProcessException, EOFError, pickle.UnpicklingError) as error:
            self._error = (
                loss(error, self._size) if isinstance(error, ProcessException) else _UNREAD
            )
            self._has_refused = bool(_OWN_ERROR.match(_last_line(error)))
            self._is_lost.set()
            while not self._is_over.wait(POLL_S):
                if world := dist.group.WORLD:
                    world.abort()
                    return


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else ""


def loss(error: ProcessException, size: int) -> StageError:
    """Return the error for the first of `size` processes that ended before its time."""
    if not isinstance(error, ProcessExitedException):
        # An error of madpipe's own reads as it does where one process trains.
        cause = _OWN_ERROR.sub("", _last_line(error))[:_MESSAGE_CHARACTERS]
    elif error.signal_name:
        cause = f"killed by {error.signal_name}"
    else:
        cause = f"ended with {error.exit_code}"
    return StageError(
        "distill.processes",
        f"process {error.error_index + 1} of {size} was lost ({cause})",
        "the same command goes on from the last checkpoint",
    )
