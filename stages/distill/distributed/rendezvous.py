"""How the processes of a training find each other, each with a device of its own."""

import datetime as dt
import functools
import os
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from pipeline.errors import error_summary
from pipeline.stage import StageError

POLL_S = 0.2
START_KEY = "madpipe/start"
"""In the store of torchrun: rank 0 sets it to `join` or, where nothing is to do, to `end`."""
_READY_KEY = "madpipe/ready"
"""With the rank behind it: the backend for which a process is ready, or why it has none."""
_JOIN_TIMEOUT_S = 120.0
_MESSAGE_TIMEOUT = dt.timedelta(minutes=5)


@functools.cache
def torchrun_store() -> Store | None:
    """Return the store of the processes of torchrun, None where it did not start this one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    # Mostly torchrun itself keeps the store; else it is for rank 0 to open.
    is_kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=os.environ["RANK"] == "0" and not is_kept,
        wait_for_workers=False,
    )
    # With --max-restarts the store outlives the processes that wrote to it.
    return PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def join(store: Store, rank: int, size: int, check: Callable[[], None] = lambda: None) -> None:
    """Enter torch's process group once all are ready for it; every process calls it once.

    Args:
        store: Where they find each other.
        rank: Of this process.
        size: How many there are.
        check: For rank 0, called while it waits for the others; raises where one was lost.

    Raises:
        StageError: A process has no GPU where the others have one, or does not come.
    """
    backend, fault = _device(int(os.environ.get("LOCAL_RANK", rank)), size)
    store.set(f"{_READY_KEY}/{rank}", str(fault or backend))
    if fault:
        raise fault
    end_s = time.monotonic() + _JOIN_TIMEOUT_S
    for other in range(1, size if rank == 0 else 1):
        while not store.check([f"{_READY_KEY}/{other}"]):
            check()
            if time.monotonic() > end_s:
                raise StageError(
                    "distill.processes",
                    f"process {other} of {size} does not join ({_JOIN_TIMEOUT_S:g} s)",
                    "look for what holds it up on its machine",
                )
            time.sleep(POLL_S)
        answer = store.get(f"{_READY_KEY}/{other}").decode()
        if answer != backend:
            raise StageError(
                "distill.processes",
                f"process {other} of {size} is not ready for {backend} ({answer})",
                "give every process a GPU, or none by CUDA_VISIBLE_DEVICES=",
            )
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=size, timeout=_MESSAGE_TIMEOUT
    )


def _device(local_rank: int, size: int) -> tuple[str, StageError | None]:
    """Take this process's GPU where there are any; return torch's backend and what is wrong.

    NCCL wants a GPU for each process of a machine. Several on one GPU would only wait for it.
    """
    gpus, wanted = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if not gpus:
        return "gloo", None
    if gpus < wanted:
        return "nccl", StageError(
            "distill.processes",
            f"{wanted} processes of this machine want a GPU each ({gpus} visible)",
            f"start {gpus}, or train on the CPU with CUDA_VISIBLE_DEVICES=",
        )
    try:
        torch.cuda.set_device(local_rank)
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        return "nccl", StageError(
            "distill.processes",
            f"GPU {local_rank} cannot be used ({error_summary(error)})",
            "free it, or leave it out of CUDA_VISIBLE_DEVICES",
        )
    return "nccl", None
