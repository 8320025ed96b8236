"""A whole sweep in one process: rows, what stops it, and what an earlier one left."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pipeline.cache.lock import write_lock
from pipeline.errors import Interrupted, StoreError
from pipeline.events import Event
from pipeline.project import Project
from pipeline.sweep import page
from pipeline.sweep.combinations import Combination
from pipeline.sweep.records import Row
from pipeline.sweep.run import Plan, run_sweep
from pipeline.sweep.stores import job_store, sweep_store

Open = Callable[..., Project]


@dataclass
class Screen:
    """Remembers the kinds of events, and acts once at the first that fits."""

    at: str = ""
    act: Callable[[], None] = lambda: None
    kinds: list[tuple[int | None, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __call__(self, number: int | None, event: Event) -> None:
        is_first = event.kind == self.at and not any(kind == self.at for _, kind in self.kinds)
        self.kinds.append((number, event.kind))
        if event.kind == "note":
            self.texts.append(event.fields["text"])
        if is_first:
            self.act()

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def plan(project: Open) -> Plan:
    """Two combinations of a project of fake stages, up to validate."""
    combinations = [
        Combination(number, (f"seed={number}",), project(f"seed={number}")) for number in (1, 2)
    ]
    return Plan(combinations, "validate", "madpipe sweep seed=1,2")


def test_a_row_is_of_what_its_run_used_and_not_of_what_another_used_last(plan: Plan) -> None:
    newest = plan.store.home / "entries" / "validate" / "newest"
    sweep, stopped = run_sweep(plan, Screen("run_done", newest.unlink))
    assert stopped is None
    assert [row.state for row in sweep.rows] == ["done", "done"]
    assert sweep.rows[0].figures == {"student_top1": 0.98}


def interrupt() -> None:
    # What a signal calls; a real one would end all tests of this process if nothing heard it.
    handler = signal.getsignal(signal.SIGTERM)
    assert callable(handler), handler
    handler(signal.SIGTERM, None)


def test_rows_have_figures_losses_costs_and_verdicts(plan: Plan) -> None:
    sweep, stopped = run_sweep(plan, Screen())
    assert stopped is None
    assert [row.state for row in sweep.rows] == ["done", "done"]
    first = sweep.rows[0]
    assert first.params == 77850
    assert first.figures == {"student_top1": 0.98}
    assert first.loss is not None
    assert first.latency_ms is not None
    assert [gate.name for gate in first.gates] == [
        "student_top1_drop", "engine_top1_drop", "speedup"
    ]  # fmt: skip
    assert sweep.environment["cores"]


def test_a_stop_between_two_keeps_the_row_of_the_first(plan: Plan) -> None:
    sweep, stopped = run_sweep(plan, Screen("combination_done", interrupt))
    assert isinstance(stopped, Interrupted)
    assert [row.state for row in sweep.rows] == ["done", "unfinished"]
    assert sweep.is_interrupted
    assert "1 unfinished" in page.render(sweep)


def test_what_is_stored_is_a_row_although_a_stop_came_first(plan: Plan) -> None:
    run_sweep(plan, Screen())
    rows: tuple[Row, ...] = run_sweep(plan, Screen("combination_started", interrupt)).sweep.rows
    assert [row.state for row in rows] == ["done", "done"]


def test_a_combination_that_fails_keeps_no_other_from_its_row(
    plan: Plan, code: Callable[..., None]
) -> None:
    code("def distill(ctx):\n    raise ValueError(ctx.settings.seed)\n")
    sweep, stopped = run_sweep(plan, Screen())
    assert stopped is None
    assert [row.state for row in sweep.rows] == ["failed", "failed"]
    assert "ValueError: 2" in sweep.rows[1].error


def test_what_jobs_of_a_killed_sweep_left_comes_back_first(plan: Plan) -> None:
    job = job_store(plan.store, "distill", "a" * 64)
    sweep_store(plan.store).prepare()
    job.prepare()
    state = job.work_path("distill", "a" * 64) / "checkpoint" / "state"
    state.parent.mkdir(parents=True)
    state.touch()
    run_sweep(plan, Screen())
    assert (plan.store.work_path("distill", "a" * 64) / "checkpoint" / "state").is_file()
    assert not job.home.exists()


def test_the_folders_of_a_sweep_that_runs_are_left_alone(plan: Plan) -> None:
    job = job_store(plan.store, "distill", "a" * 64)
    job.prepare()
    with write_lock(sweep_store(plan.store), command="another sweep"):
        sweep, _ = run_sweep(plan, Screen())
    assert [row.state for row in sweep.rows] == ["done", "done"]
    assert job.home.is_dir()


def test_a_second_sweep_with_jobs_waits_and_then_says_who_holds_it(
    plan: Plan, project: Open
) -> None:
    from pipeline.sweep.jobs import LocalLauncher

    short = [
        Combination(item.number, item.changes, project(*item.changes, "run.lock_wait_s=0"))
        for item in plan.combinations
    ]
    launcher = LocalLauncher(threads=1, gpus=())
    both = plan._replace(combinations=short, launcher=launcher, jobs=2, notes=("a note",))
    screen = Screen()
    with write_lock(sweep_store(plan.store), command="another sweep"):
        sweep, stopped = run_sweep(both, screen)
    assert isinstance(stopped, StoreError)
    assert "another sweep" in str(stopped)
    assert [row.state for row in sweep.rows] == ["unfinished", "unfinished"]
    assert screen.texts == ["a note"]
