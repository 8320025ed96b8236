"""The processes of one training: started here, or by torchrun on one machine or many.

The process that runs the stage is rank 0. It alone touches the store, and it alone keeps
checkpoints, since every process holds the same state. The others get their job, the teacher
and the checkpoint as bytes, so they need no common file system.
"""

import contextlib
import datetime as dt
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.stage import StageError
from stages.distill.distributed.group import Group
from stages.distill.job import Job

_JOIN_TIMEOUT = dt.timedelta(minutes=5)
_TERMINATE_TIMEOUT_S = 10.0
_POLL_S = 0.2
_MESSAGE_CHARACTERS = 300
START_KEY = "madpipe/start"
"""In the store of torchrun: rank 0 sets it to `join` or, where nothing is to do, to `end`."""

_Worker = tuple["subprocess.Popen[bytes]", IO[bytes]]
"""A process and the file of what it writes."""


@contextlib.contextmanager
def process_group(job: Job, teacher: Path, checkpoint: Path | None) -> Iterator[Group]:
    """Yield the group of processes; those above rank 0 have the job by then and have begun.

    Raises:
        StageError: A process ended before its time; the checkpoint stays.
    """
    store = torchrun_store()
    size = int(os.environ["WORLD_SIZE"]) if store else job.options.processes
    if size == 1:
        yield Group()
        return
    threads = torch.get_num_threads()
    workers: list[_Worker] = []
    try:
        if store:
            store.set(START_KEY, "join")
        else:
            store = TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
            workers = [_start_worker(rank, size, store.port) for rank in range(1, size)]
            torch.set_num_threads(max(1, threads // size))
        join(store, 0, size)
        # torch pickles this on the way. Who could send the others a harmful pickle could as well
        # send them a job that names a file of code.
        contents = [job, teacher.read_bytes(), checkpoint.read_bytes() if checkpoint else None]
        with _watched(workers):
            dist.broadcast_object_list(contents, src=0)
            yield Group(0, size, functools.partial(_check, workers, size))
            _check(workers, size)
    except (RuntimeError, dist.DistError, StageError) as error:
        raise worker_error(workers, size) or error from error
    finally:
        for process, output in workers:
            process.terminate()
            try:
                process.wait(timeout=_TERMINATE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            output.close()
        torch.set_num_threads(threads)
        if dist.is_initialized():
            dist.destroy_process_group()


@functools.cache
def torchrun_store() -> TCPStore | None:
    """Return the store of the processes of torchrun, None where it did not start this one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    # Mostly torchrun itself keeps the store; else it is for rank 0 to open.
    is_kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=os.environ["RANK"] == "0" and not is_kept,
        wait_for_workers=False,
    )


def join(store: Store, rank: int, size: int) -> None:
    """Enter torch's process group; every process calls it once."""
    gpus = torch.cuda.device_count()
    # NCCL needs a GPU for each process of a machine.
    backend = "nccl" if gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", size)) else "gloo"
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % gpus)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_JOIN_TIMEOUT)


def _start_worker(rank: int, size: int, port: int) -> _Worker:
    output = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process lives)
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // size)),
    }
    # A session of its own: Ctrl-C reaches this process alone, which ends the others in order.
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.distill.distributed.worker"],
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    return process, output


@contextlib.contextmanager
def _watched(workers: list[_Worker]) -> Iterator[None]:
    """End all messages once a worker is lost, for which NCCL waits and raises nothing.

    They leave rubbish on the GPU then: `_check` comes before anything of it is kept.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_S):
            if any(process.poll() for process, _ in workers) and (world := dist.group.WORLD):
                world.abort()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _check(workers: list[_Worker], size: int) -> None:
    """Raise the error of a worker that ended before its time."""
    if any(process.poll() for process, _ in workers) and (error := worker_error(workers, size)):
        raise error


def worker_error(workers: list[_Worker], size: int) -> StageError | None:
    """Return the error of the first worker that ended before its time, None where none did."""
    for rank, (process, output) in enumerate(workers, start=1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
        if not process.returncode:
            continue
        if process.returncode < 0:
            cause = f"killed by {signal.Signals(-process.returncode).name}"
        else:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            message = lines[-1][:_MESSAGE_CHARACTERS] if lines else "no message"
            cause = f"ended with {process.returncode}: {message}"
        return StageError(
            "distill.processes",
            f"process {rank} of {size} was lost ({cause})",
            "the same command goes on from the last checkpoint",
        )
    return None
