"""Without torchrun the command is one process; under it, ranks above 0 are its workers."""

import sys

import pytest

from pipeline.cli import torchrun


def test_a_plain_command_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "1")
    assert not torchrun.is_worker()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_ranks_above_0_of_torchrun_are(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", rank)
    assert torchrun.is_worker() is (rank == "1")


def test_without_torchrun_nothing_heavy_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    before = set(sys.modules)
    with torchrun.workers_released():
        pass
    assert not {name for name in set(sys.modules) - before if name.startswith("torch")}
