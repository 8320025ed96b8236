"""A process above rank 0, started by `launch` or by torchrun; it leaves nothing behind."""

import multiprocessing
import os
import signal
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from pipeline.atomic import scratch_folder, write_bytes
from pipeline.stage import StageError
from stages.distill.distributed import rendezvous
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.training import state_file


def run(index: int, size: int, port: int, threads: int) -> None:
    """Be rank `index` + 1 of those that rank 0 started on its machine, and train to the end."""
    # A session of its own: Ctrl-C reaches rank 0 alone, which ends the others in order. torch has
    # this signal sent where rank 0 is killed, and no handler of Python's would see it in time.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rank_0 = multiprocessing.parent_process()
    if rank_0 is not None and os.getppid() != rank_0.pid:
        return  # it was killed before, so that no signal comes, and its store is waited for
    torch.set_num_threads(threads)
    _train(TCPStore("127.0.0.1", port, is_master=False), index + 1, size)
    _leave()


def main() -> None:
    """Be the rank that torchrun names in the environment, and train to the end."""
    # A signal from the terminal is rank 0's business, which knows what has to be saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = rendezvous.torchrun_store()
    if store is not None and wait_for_start(store):
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        try:
            _train(store, rank, size)
        except (RuntimeError, StageError) as error:
            # Where rank 0 has gone, it is the one that reports why.
            sys.exit(f"process {rank} of {size}: {error}")
    _leave()


def _leave() -> None:
    """End the process at once, with nothing left to do.

    Threads of torch outlive the group, and now and then one aborts a Python that comes to its end
    (seen with torch 2.15 and gloo); torchrun would then end rank 0 as well, in the middle of its
    work.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(0)


def _train(store: Store, rank: int, size: int) -> None:
    """Join the group, get the job from rank 0 and train until the last round."""
    rendezvous.join(store, rank, size)
    try:
        contents: list[Any] = [None, None, None]
        dist.broadcast_object_list(contents, src=0)
        job, teacher, checkpoint = contents
        with scratch_folder() as folder:
            teacher_path, checkpoint_path = folder / "teacher", folder / "checkpoint"
            write_bytes(teacher_path, teacher)
            trainer, _ = build_trainer(job, teacher_path, Group(rank, size))
            if checkpoint is not None:
                write_bytes(checkpoint_path, checkpoint)
                trainer.restore(state_file.load(checkpoint_path))
        trainer.run()
    finally:
        dist.destroy_process_group()


def release() -> None:
    """Let ranks above 0 of torchrun go, where no stage has called them."""
    store = rendezvous.torchrun_store()
    if store is not None and not store.check([rendezvous.START_KEY]):
        store.set(rendezvous.START_KEY, "end")


def wait_for_start(store: Store) -> bool:
    """Wait until rank 0 decides: true to join it, false to end."""
    while not store.check([rendezvous.START_KEY]):
        time.sleep(rendezvous.POLL_S)
    return bool(store.get(rendezvous.START_KEY) == b"join")
