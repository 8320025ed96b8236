"""A run of what is stored holds no lock: beside gc and other runs it loses and mixes nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import run_records
from pipeline.cache.entry import Entry
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store, remove_tree
from pipeline.cache.sync import collect_garbage
from pipeline.errors import LockedError, StoreError, UnavailableError
from pipeline.events import Event
from pipeline.gates import measurement_files
from pipeline.planner import Planned
from pipeline.project import Project, measurements_of
from pipeline.requirements import Unsupported
from pipeline.run_pipeline import run_pipeline

Open = Callable[..., Project]


def run(project: Project, events: list[Event] | None = None) -> int:
    sinks = [] if events is None else [events.append]
    return run_pipeline(project, ["all"], force=(), sinks=sinks, command="run", inconclusive=4)


def last_run(project: Project) -> list[tuple[str, str]]:
    record = run_records.latest(project.store)
    assert record is not None
    return [(stage.name, stage.status) for stage in record.stages]


def newest(project: Project, stage: str) -> Entry:
    entry = project.store.newest(stage)
    assert entry is not None
    return entry


def two_runs(project: Open, *changes: str) -> tuple[Project, Entry, Entry]:
    """Run twice, the second time with another seed; return the first, and what each measured."""
    opened = project(*changes)
    run(opened)
    mine = newest(opened, "validate")
    run(project("seed=8"))
    others = newest(opened, "validate")
    assert mine != others
    return opened, mine, others


def after_plan(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    plan = Project.plan

    def plan_and_act(self: Project, *args: Any) -> list[Planned]:
        planned = plan(self, *args)
        act()
        return planned

    monkeypatch.setattr(Project, "plan", plan_and_act)


def test_a_stored_stage_that_gc_removes_after_the_plan_runs_anew(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = project()
    run(opened)
    entry = newest(opened, "distill")
    after_plan(monkeypatch, lambda: remove_tree(entry.path))
    assert run(opened) == 0
    assert last_run(opened) == [("distill", "ran"), ("validate", "hit")]


def test_a_run_is_judged_by_what_it_measured_not_by_what_another_used_last(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, mine, others = two_runs(project)
    judged: list[Path] = []
    read = measurement_files.read

    def read_and_note(path: Path, *args: Any) -> Any:
        judged.append(path)
        return read(path, *args)

    mark = Store.mark_newest

    def mark_and_then_another_run(self: Store, stage: str, key: str) -> None:
        mark(self, stage, key)
        if stage == "validate":
            mark(self, stage, others.record.key)

    monkeypatch.setattr(Store, "mark_newest", mark_and_then_another_run)
    monkeypatch.setattr("pipeline.project.read", read_and_note)
    assert run(opened) == 0
    assert [path.parent for path in judged] == [mine.path]


def test_marks_come_before_the_look_so_that_gc_takes_nothing_of_the_run(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, _, _ = two_runs(project)
    look, times = Store.read, list[str]()

    def look_and_then_gc(self: Store, stage: str, key: str) -> Entry | None:
        entry = look(self, stage, key)
        if not times:
            times.append(stage)
            assert collect_garbage(opened.store, keep=0, unfinished=False)[0] == 2
        return entry

    monkeypatch.setattr(Store, "read", look_and_then_gc)
    assert run(opened) == 0
    assert last_run(opened) == [("distill", "hit"), ("validate", "hit")]


def test_what_is_taken_while_it_is_read_runs_anew_and_is_told_once(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by gc beside a third run, which has marked its own entries since."""
    opened = project()
    run(opened)
    entry, calls = newest(opened, "validate"), list[Entry]()

    def taken_and_read(validate: Entry) -> Any:
        if not calls:
            remove_tree(entry.path)
        calls.append(validate)
        return measurements_of(validate)

    monkeypatch.setattr("pipeline.run_pipeline.measurements_of", taken_and_read)
    events: list[Event] = []
    assert run(opened, events) == 0
    assert last_run(opened) == [("distill", "hit"), ("validate", "ran")]
    assert [event.stage for event in events if event.kind == "stage_done"] == [
        "distill",
        "validate",
    ]
    assert len(calls) == 2


def test_a_run_that_then_ends_early_takes_its_marks_back(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, mine, others = two_runs(project, "run.lock_wait_s=0")
    after_plan(monkeypatch, lambda: remove_tree(mine.path))
    with write_lock(opened.store, command="other"), pytest.raises(LockedError):
        run(opened)
    assert newest(opened, "validate") == others


def test_a_run_whose_measurements_are_of_no_schema_keeps_its_stages_in_its_record(
    project: Open,
) -> None:
    opened = project(measured=b"{}")
    for status in ("ran", "hit"):
        with pytest.raises(StoreError):
            run(opened)
        assert last_run(opened) == [("distill", status), ("validate", status)]


def test_what_a_taken_stage_needs_is_asked_for_before_any_runs(
    project: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = project()
    run(opened)
    first, second = opened.stages
    lack = Unsupported(setting="build.backend", wrong="is not here (x)", remedy="use y")
    needy = replace(opened, stages=(first, replace(second, requires=(lack,))))
    folders = [newest(opened, stage.name).path for stage in opened.stages]

    def take() -> None:
        for path in folders:
            remove_tree(path)

    after_plan(monkeypatch, take)
    with pytest.raises(UnavailableError):
        run(needy)
    assert ("distill", "ran") not in last_run(opened)
