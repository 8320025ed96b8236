"""A process above rank 0, started by `launch` or by torchrun.

It holds the same state as rank 0, plays the same rounds on its share of each batch, and leaves
nothing behind.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from stages.distill.distributed import launch
from stages.distill.distributed.group import Group
from stages.distill.job import Job, build_trainer
from stages.training import checkpoint_io

_ASK_EVERY_S = 0.2


def main() -> None:
    """Join the group that the environment names and play until the last round."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    outside = launch.from_torchrun()
    if outside is None:
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    else:
        store = outside.store
        # A signal from the terminal is rank 0's business, which knows what has to be saved.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not _wanted(store):
            return
    launch.join(store, rank, size)
    try:
        play(Group(rank, size))
    except RuntimeError as error:
        # Rank 0 went away, and it is the one that tells why.
        sys.exit(f"process {rank} of {size}: {error}")
    finally:
        dist.destroy_process_group()


def play(group: Group) -> None:
    """Get the job and play all rounds of it."""
    job = msgspec.json.decode(launch.receive(), type=Job)
    teacher, checkpoint = launch.receive(), launch.receive()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "teacher").write_bytes(teacher)
        game, _ = build_trainer(job, Path(folder) / "teacher", group)
        if checkpoint:
            (Path(folder) / "checkpoint").write_bytes(checkpoint)
            game.restore(checkpoint_io.load(Path(folder) / "checkpoint"))
    while game.pretrained < job.options.pretrain_steps:
        game.pretrain_step()
    while game.round < job.options.rounds:
        game.train_round()
        if game.window_is_full:
            game.close_window()


def release() -> None:
    """Let ranks above 0 of torchrun go, where no stage has called them."""
    outside = launch.from_torchrun()
    if outside is not None and not outside.store.check([launch.GO_KEY]):
        outside.store.set(launch.GO_KEY, "end")


def _wanted(store: Store) -> bool:
    """Wait for rank 0's word: true to join, false to go."""
    while not store.check([launch.GO_KEY]):
        time.sleep(_ASK_EVERY_S)
    return bool(store.get(launch.GO_KEY) == b"join")


if __name__ == "__main__":
    main()
