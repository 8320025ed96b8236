"""How many jobs run at once: as many as there are GPUs, else cores."""

from collections.abc import Callable

import joblib
import pytest

from pipeline import estimates, machine
from pipeline.estimates import StageRate
from pipeline.machine import Gpu
from pipeline.project import Project
from pipeline.sweep.combinations import Combination
from pipeline.sweep.room import room_for


@pytest.fixture
def combinations(
    project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> list[Combination]:
    """Three combinations on a machine of eight cores."""
    monkeypatch.setattr(machine, "cpu_count", lambda: 8)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "gpus", lambda: ())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return [Combination(n, (f"seed={n}",), project(f"seed={n}")) for n in (1, 2, 3)]


def test_cores_are_shared_out(combinations: list[Combination]) -> None:
    assert room_for(2, combinations) == (2, 4, (), ())
    assert room_for(3, combinations)[:2] == (3, 2)


def test_there_are_never_more_jobs_than_combinations(combinations: list[Combination]) -> None:
    assert room_for(5, combinations) == (3, 2, (), ())


def test_more_than_cores_is_noted(combinations: list[Combination]) -> None:
    room = room_for(9, combinations)
    assert room.jobs == 3
    assert room.notes == ("--jobs 9 is more than 8 cores allow: 8 run at once",)


def test_a_job_of_several_processes_takes_a_core_for_each(
    combinations: list[Combination], project: Callable[..., Project]
) -> None:
    changes = ("distill.method=mad", "distill.processes=4")
    room = room_for(3, [*combinations, Combination(4, changes, project(*changes))])
    assert (room.jobs, room.threads) == (2, 1)
    assert "8 cores and 4 processes a job allow: 2 run at once" in room.notes[0]


@pytest.mark.parametrize(("visible", "names"), [(None, ("0", "1")), ("GPU-a, 3,", ("GPU-a", "3"))])
def test_every_job_gets_a_gpu(
    combinations: list[Combination],
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    names: tuple[str, ...],
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (Gpu("a", "9.0", "1"),) * 2)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    room = room_for(3, combinations)
    assert room.gpus == names
    assert room.notes == ("--jobs 3 is more than 2 GPUs allow: 2 run at once",)


def test_a_job_of_several_processes_gets_a_gpu_for_each(
    combinations: list[Combination],
    project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: (Gpu("a", "9.0", "1"),) * 5)
    changes = ("distill.method=mad", "distill.processes=2")
    room = room_for(3, [*combinations, Combination(4, changes, project(*changes))])
    assert (room.jobs, room.gpus) == (2, ("0,1", "2,3"))
    assert "5 GPUs and 2 processes a job allow: 2 run at once" in room.notes[0]


def test_memory_that_jobs_may_not_have_is_noted(
    combinations: list[Combination], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = combinations[0].project
    opened.store.prepare()
    monkeypatch.setattr(machine, "usable_memory_bytes", lambda: 3 * 2**30)
    recorder = estimates.RateRecorder(opened.stages, opened.settings)
    rate = StageRate(
        settings=estimates._settings_of(opened.stages[0], opened.settings),
        units={}, other_s=1.0, memory_bytes=2**30,
    )  # fmt: skip
    assert recorder.rates == {}
    estimates.save(opened.store.home, {"distill": rate})
    assert room_for(3, combinations).notes == ()
    monkeypatch.setattr(machine, "usable_memory_bytes", lambda: 2**30)
    (note,) = room_for(2, combinations).notes
    assert note.startswith("2 jobs may hold 2.00 GiB together")
