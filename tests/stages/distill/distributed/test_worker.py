"""When a worker of torchrun starts or ends; real ones are in test_launch."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from stages.distill.distributed import worker


class _Store:
    def __init__(self, word: bytes) -> None:
        self.word = word

    def check(self, _: list[str]) -> bool:
        return True

    def get(self, _: str) -> bytes:
        return self.word


@pytest.mark.parametrize("word", [b"join", b"end"])
def test_a_rank_of_torchrun_starts_or_ends_as_rank_0_decides(word: bytes) -> None:
    assert worker.wait_for_start(_Store(word)) is (word == b"join")  # type: ignore[arg-type]


def be_left_alone(port: int) -> None:
    """Be a worker whose rank 0 was killed before torch could ask for a signal then."""
    rank_0 = multiprocessing.parent_process()
    while rank_0 is not None and os.getppid() == rank_0.pid:
        time.sleep(0.01)
    worker.run(0, 2, port, 1)


def test_a_worker_whose_rank_0_was_killed_at_its_start_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unanswered:
        port = unanswered.getsockname()[1]
        script = (
            "import multiprocessing, os; from tests.stages.distill.distributed import test_worker\n"
            "context = multiprocessing.get_context('spawn')\n"
            f"context.Process(target=test_worker.be_left_alone, args=({port},)).start()\n"
            "os._exit(0)\n"
        )
        # Its pipe ends with the last process that has it; the store would be waited for longer.
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=120)


def test_a_worker_that_is_done_does_not_take_python_down() -> None:
    """Where a thread of torch's aborts it, all that was trained would count as lost."""
    script = (
        "import atexit, os; from stages.distill.distributed import worker\n"
        "worker._train = worker.TCPStore = lambda *_, **__: None\n"
        "atexit.register(os.abort)\n"
        "worker.run(0, 2, 0, 1)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_without_torchrun_there_is_nobody_to_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    worker.release()
    assert not dist.is_initialized()
