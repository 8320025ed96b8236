"""Each process has a device of its own before any waits for another; test_launch has real ones."""

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch.distributed import HashStore, Store, TCPStore  # type: ignore[attr-defined]

from pipeline.errors import StageError
from stages.distill.distributed import rendezvous
from stages.distill.distributed.rendezvous import join, torchrun_store


def store_with(**answers: str) -> Store:
    """Return the store that processes share, where those of some ranks have answered."""
    store = HashStore()
    for rank, answer in answers.items():
        store.set(f"madpipe/ready/{rank[1:]}", answer)
    return store


Gpus = Callable[[int], list[object]]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    """See so many GPUs, of which none but the first works; return what torch is asked to do."""

    def see(count: int) -> list[object]:
        calls: list[object] = []

        def set_device(index: int) -> None:
            calls.append(index)
            if index > 0:
                raise RuntimeError("CUDA error: device unavailable")

        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", set_device)
        monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
        monkeypatch.setattr(dist, "init_process_group", lambda name, **_: calls.append(name))
        return calls

    return see


@pytest.mark.parametrize(("count", "backend"), [(0, "gloo"), (2, "nccl")])
def test_with_a_gpu_for_each_process_it_is_nccl_and_without_any_gloo(
    gpus: Gpus, count: int, backend: str
) -> None:
    calls = gpus(count)
    join(store_with(_1=backend), 0, 2)
    assert calls == [0] * bool(count) + [backend]


def test_too_few_gpus_are_refused_and_the_others_hear_why(gpus: Gpus) -> None:
    gpus(1)
    store = store_with()
    with pytest.raises(StageError, match=r"2 processes .* want a GPU each \(1 visible\); start 1"):
        join(store, 1, 2)
    with pytest.raises(StageError, match="want a GPU each"):
        join(store, 0, 2)
    assert "want a GPU each" in store.get("madpipe/ready/1").decode()


def test_processes_of_torchrun_count_the_gpus_of_their_own_machine(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = gpus(2)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    join(store_with(), 2, 4)
    assert calls == [0, "nccl"]


def test_a_gpu_that_does_not_answer_is_named(gpus: Gpus) -> None:
    gpus(2)
    with pytest.raises(StageError, match=r"GPU 1 cannot be used \(.*device unavailable\); free it"):
        join(store_with(), 1, 2)


@pytest.mark.parametrize("answer", ["gloo", "distill.processes: GPU 1 cannot be used (x); free it"])
def test_what_another_process_lacks_is_reported_by_rank_0(gpus: Gpus, answer: str) -> None:
    calls = gpus(2)
    with pytest.raises(StageError, match="process 1 of 2 is not ready for nccl") as caught:
        join(store_with(_1=answer), 0, 2)
    assert answer in str(caught.value)
    assert calls == [0]


def test_a_process_that_does_not_come_is_named(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(0)
    monkeypatch.setattr(rendezvous, "_JOIN_TIMEOUT_S", 0.0)
    with pytest.raises(StageError, match=r"process 2 of 3 does not join \(0 s\)"):
        join(store_with(_1="gloo"), 0, 3)


def test_processes_that_torchrun_starts_again_do_not_read_what_the_first_ones_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = TCPStore("127.0.0.1", 0, is_master=True)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(kept.port))
    seen = []
    for attempt in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        torchrun_store.cache_clear()
        store = torchrun_store()
        assert store is not None
        seen.append(store.check(["key"]))
        store.set("key", "")
    torchrun_store.cache_clear()
    assert seen == [False, False]
