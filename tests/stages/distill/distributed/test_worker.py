"""When a worker of torchrun starts or ends; real ones are in test_launch."""

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


def test_without_torchrun_there_is_nobody_to_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    worker.release()
    assert not dist.is_initialized()
