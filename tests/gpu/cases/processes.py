"""Two processes with NCCL on two GPUs of hollow CUDA: they start, train to the end and close."""

import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch.distributed as dist

from stages.distill.distributed.launch import process_group
from stages.distill.job import build_trainer
from tests.gpu.hollow.calls import Calls
from tests.stages.distill.tiny_training import children, job, teacher

ROUNDS = 3


def _broadcast_by_store(objects: list[Any], src: int) -> None:
    """Do what torch does with a collective, which moves nothing here."""
    store = dist.distributed_c10d._get_default_store()
    if dist.get_rank() == src:
        store.set("objects", pickle.dumps(objects).hex())
    else:
        objects[:] = pickle.loads(bytes.fromhex(store.get("objects").decode()))  # noqa: S301


# Also in the other process, which begins by importing this file.
dist.broadcast_object_list = _broadcast_by_store  # type: ignore[assignment]


def main() -> None:
    """Train as rank 0, with all that is asserted of it."""
    chosen = job(rounds=ROUNDS, processes=2, precision="bf16", compile="off", accumulation_steps=2)
    path = teacher(Path(tempfile.mkdtemp()))
    with process_group(chosen, path, None) as group:
        assert (dist.get_backend(), group.size, len(children())) == ("nccl", 2, 1)
        trainer, _ = build_trainer(chosen, path, group)
        trainer.train_round()
        before = Calls.read()
        for _ in range(1, ROUNDS):
            trainer.train_round()
        calls = Calls.read().since(before)
        assert calls.collectives > 0
        assert calls.waits == 0, calls
        assert trainer.close_window().round == ROUNDS
    assert not children()
    print("closed")


if __name__ == "__main__":
    main()
