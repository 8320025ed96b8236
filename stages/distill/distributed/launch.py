"""Several processes for one game: started here, or by torchrun on one machine or many.

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.stage import StageError
from stages.distill.distributed.group import Group
from stages.distill.job import Job

_JOIN = dt.timedelta(minutes=5)
_STOP_S = 10.0
_SHOWN_CHARACTERS = 300
GO_KEY = "madpipe/go"

_Child = tuple["subprocess.Popen[bytes]", IO[bytes]]


@contextlib.contextmanager
def hired(job: Job, teacher: Path, checkpoint: Path | None) -> Iterator[Group]:
    """Yield the group that plays; others have the job by then and have begun.

    Raises:
        StageError: A process ended before its time; the checkpoint stays.
    """
    outside = from_torchrun()
    size = outside.world_size if outside else job.options.processes
    if size == 1:
        yield Group()
        return
    threads = torch.get_num_threads()
    children: list[_Child] = []
    try:
        if outside:
            store = outside.store
            store.set(GO_KEY, "join")
        else:
            store = TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
            children = [_started(rank, size, store.port) for rank in range(1, size)]
            torch.set_num_threads(max(1, threads // size))
        yield _joined(store, job, teacher, checkpoint, size)
    except (RuntimeError, dist.DistError) as error:
        raise _loss(children, size, error) from error
    finally:
        _dismiss(children)
        torch.set_num_threads(threads)
        if dist.is_initialized():
            dist.destroy_process_group()


@dataclass(frozen=True, slots=True)
class Outside:
    """The place of this process among those that torchrun started."""

    rank: int
    world_size: int
    store: TCPStore


@functools.cache
def from_torchrun() -> Outside | None:
    """Return the place that torchrun gave this process, None where it did not start it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # Mostly torchrun itself keeps the store; else it is for rank 0 to open.
    is_kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not is_kept,
        wait_for_workers=False,
    )
    return Outside(rank, size, store)


def join(store: Store, rank: int, size: int) -> None:
    """Enter the process group; every process calls it once."""
    gpus = torch.cuda.device_count()
    # NCCL wants a GPU for each process of a machine.
    backend = "nccl" if gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", size)) else "gloo"
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % gpus)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_JOIN)


def _joined(store: Store, job: Job, teacher: Path, checkpoint: Path | None, size: int) -> Group:
    join(store, 0, size)
    send(msgspec.json.encode(job))
    send(teacher.read_bytes())
    send(checkpoint.read_bytes() if checkpoint else b"")
    return Group(0, size)


def send(content: bytes) -> None:
    """Send bytes from rank 0 to all others."""
    _broadcast(torch.tensor([len(content)], dtype=torch.int64))
    if content:
        _broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8))


def receive() -> bytes:
    """Return the bytes that rank 0 sends."""
    length = int(_broadcast(torch.zeros(1, dtype=torch.int64)).item())
    if not length:
        return b""
    return _broadcast(torch.empty(length, dtype=torch.uint8)).cpu().numpy().tobytes()


def _broadcast(x: torch.Tensor) -> torch.Tensor:
    x = x.cuda() if dist.get_backend() == "nccl" else x
    dist.broadcast(x, src=0)
    return x


def _started(rank: int, size: int, port: int) -> _Child:
    said = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the child lives)
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // size)),
    }
    # A session of its own: Ctrl-C reaches this process alone, which ends the others in order.
    child = subprocess.Popen(
        [sys.executable, "-m", "stages.distill.distributed.worker"],
        env=environment,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    return child, said


def _loss(children: list[_Child], size: int, error: Exception) -> Exception:
    """Return the error to raise: that of a process that ended, else `error` itself."""
    for rank, (child, said) in enumerate(children, start=1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=1.0)
        if child.returncode:
            how = (
                f"killed by {signal.Signals(-child.returncode).name}"
                if child.returncode < 0
                else f"ended with {child.returncode}: {_last_line(said)}"
            )
            return StageError(
                "distill.processes",
                f"process {rank} of {size} was lost ({how})",
                "the same command goes on from the last checkpoint",
            )
    return error


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:_SHOWN_CHARACTERS] if lines else "it said nothing"


def _dismiss(children: list[_Child]) -> None:
    """End those that are still there."""
    for child, said in children:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        said.close()
