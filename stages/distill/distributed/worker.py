"""A process above rank 0, started by `launch` or by torchrun; it leaves nothing behind."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from stages.distill.distributed import launch
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.training import state_file

_POLL_S = 0.2


def main() -> None:
    """Join the group that the environment names and train until the last round."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = launch.torchrun_store()
    if store is None:
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    else:
        # A signal from the terminal is rank 0's business, which knows what has to be saved.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not wait_for_start(store):
            return
    launch.join(store, rank, size)
    try:
        contents: list[Any] = [None, None, None]
        dist.broadcast_object_list(contents, src=0)
        job, teacher, checkpoint = contents
        with tempfile.TemporaryDirectory() as folder:
            teacher_path, checkpoint_path = Path(folder) / "teacher", Path(folder) / "checkpoint"
            teacher_path.write_bytes(teacher)
            trainer, _ = build_trainer(job, teacher_path, Group(rank, size))
            if checkpoint is not None:
                checkpoint_path.write_bytes(checkpoint)
                trainer.restore(state_file.load(checkpoint_path))
        trainer.run()
    except RuntimeError as error:
        # Rank 0 has gone, and it is the one that reports why.
        sys.exit(f"process {rank} of {size}: {error}")
    finally:
        dist.destroy_process_group()


def release() -> None:
    """Let ranks above 0 of torchrun go, where no stage has called them."""
    store = launch.torchrun_store()
    if store is not None and not store.check([launch.START_KEY]):
        store.set(launch.START_KEY, "end")


def wait_for_start(store: Store) -> bool:
    """Wait until rank 0 decides: true to join it, false to end."""
    while not store.check([launch.START_KEY]):
        time.sleep(_POLL_S)
    return bool(store.get(launch.START_KEY) == b"join")


if __name__ == "__main__":
    main()
