"""Training beside other load says so once, where threads of a step would have to wait."""

from collections.abc import Callable

import pytest
import torch

from pipeline import machine
from stages import machine_load
from stages.training.contention import Contention

Watch = Callable[..., list[str]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    def notes_of(
        other_cores: float, *, threads: int = 2, seconds: float = 3.0, device: str = "cpu"
    ) -> list[str]:
        notes: list[str] = []
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(machine, "cpu_count", lambda: 2)
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        start = machine_load.read()
        before = start._replace(time_s=start.time_s - seconds)
        monkeypatch.setattr(machine_load, "read", lambda: before)
        contention = Contention(torch.device(device), notes.append)
        after = before._replace(
            time_s=before.time_s + seconds, busy_s=before.busy_s + other_cores * seconds
        )
        monkeypatch.setattr(machine_load, "read", lambda: after)
        contention.look()
        contention.look()
        monkeypatch.undo()
        return notes

    return notes_of


def test_busy_cores_are_told_once_with_what_to_set(watch: Watch) -> None:
    (note,) = watch(1.5)
    assert note.startswith("other processes use 1.5 of 2 cores, and the 2 threads of a step wait")
    assert note.endswith("set OMP_NUM_THREADS=1")


@pytest.mark.parametrize(
    "case",
    [
        {"other_cores": 0.4},
        {"other_cores": 1.5, "threads": 1},
        {"other_cores": 1.5, "seconds": 1.0},
        {"other_cores": 1.5, "device": "meta"},
    ],
    ids=str,
)
def test_an_idle_machine_one_thread_or_a_gpu_are_no_matter(
    watch: Watch, case: dict[str, float | int | str]
) -> None:
    assert watch(**case) == []


def test_what_other_cores_than_ones_own_do_is_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr("os.cpu_count", lambda: machine.cpu_count() + 6)
    start = machine_load.read()
    monkeypatch.setattr(machine_load, "read", lambda: start._replace(time_s=start.time_s - 9))
    contention = Contention(torch.device("cpu"), notes.append)
    monkeypatch.setattr(machine_load, "read", lambda: start._replace(busy_s=start.busy_s + 90))
    contention.look()
    assert notes == []
