"""Two processes over NCCL on two hollow GPUs: `python -m tests.gpu.two_processes MODE [lost]`.

Their messages move nothing, so the job goes through the store. What is left to see: each process
works on a GPU of its own, all that is exchanged is exchanged there, and a loss ends the waiting.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from pipeline.errors import StageError
from stages.distill.distributed import worker
from stages.distill.distributed.launch import process_group
from stages.distill.job import build_trainer
from tests.gpu.hollow.calls import Calls
from tests.stages.distill.tiny_training import children, job, teacher

ROUNDS = 3
_run_worker = worker.run


def _through_the_store(contents: list[Any], src: int) -> None:
    """Do what `broadcast_object_list` does."""
    if dist.get_rank() == src:
        _get_default_store().set("contents", pickle.dumps(contents).hex())
    else:
        sent = bytes.fromhex(_get_default_store().get("contents").decode())
        contents[:] = pickle.loads(sent)  # noqa: S301  (rank 0 is this very program)


def run(*arguments: int) -> None:
    """Be a worker, and fail where it used the GPU of rank 0 or exchanged nothing."""
    with mock.patch.object(dist, "broadcast_object_list", _through_the_store):
        _run_worker(*arguments)
    assert torch.cuda.max_memory_allocated(1) > 0 == torch.cuda.max_memory_allocated(0)
    assert Calls.read().collectives > 0
    os._exit(0)  # see tests.gpu.hollow.run


@mock.patch.object(worker, "run", run)
@mock.patch.object(dist, "broadcast_object_list", _through_the_store)
def main(mode: str, *, is_lost: bool) -> None:
    """Train to the end and print how it went, or lose rank 1 and print the error."""
    path = teacher(Path(tempfile.mkdtemp()))
    # Without an end of its own: only what watches the processes ends a training that lost one.
    rounds = 10**9 if is_lost else ROUNDS
    chosen = job(method="mad", processes=2, precision="bf16", compile=mode, rounds=rounds)
    try:
        with process_group(chosen, path, None) as group:
            trainer, _ = build_trainer(chosen, path, group)
            trainer.train_round()
            if is_lost:
                os.kill(children()[0], signal.SIGKILL)
            trainer.run()
            before = Calls.read()
            group.average_gradients(trainer.student.parameters())
            calls = Calls.read().since(before)
            assert (calls.launches, calls.copies, calls.waits, calls.collectives) == (2, 0, 0, 1)
            for process in multiprocessing.active_children():
                # Its watcher waits for it as well, and one of both gets its exit code.
                while process.exitcode is None:
                    time.sleep(0.05)
                assert process.exitcode == 0
            print(dist.get_backend(), trainer.compile_mode, Calls.read().collectives > 0)
    except StageError as error:
        print(error)
    assert not dist.is_initialized()


if __name__ == "__main__":
    from tests.gpu import two_processes  # by its name, under which its workers find it

    two_processes.main(sys.argv[1], is_lost="lost" in sys.argv)
