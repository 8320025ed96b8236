"""Waves of jobs: what is shared runs once, and what fails keeps nobody else from going on."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pipeline import exit_codes
from pipeline.cache.digests import DigestCache
from pipeline.cache.store import Store
from pipeline.cache.sync import copy_entries
from pipeline.errors import Interrupted, StageError, StoreError
from pipeline.events import Event
from pipeline.planner import selected
from pipeline.project import Project
from pipeline.requirements import Unsupported
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import Stage
from pipeline.sweep import stores
from pipeline.sweep.combinations import Combination
from pipeline.sweep.jobs import Finished, Job, OnEvent, StopAsked
from pipeline.sweep.side_by_side import SideBySide

CODE = """
def teacher(ctx):
    ctx.output("weights").write_text("weights")

def distill(ctx):
    if ctx.settings.seed == 13:
        raise ValueError("an unlucky number")
    ctx.output("student").write_text(f"student {ctx.settings.seed}")

def export(ctx):
    ctx.output("onnx").write_text(ctx.input("distill/student").read_text())

def build(ctx):
    raise AssertionError("what measures time runs alone")
"""


def _stage(name: str, output: str, **more: object) -> Stage:
    return Stage(
        name=name, run=f"fakestages:{name}", outputs={output: output},
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


STAGES = (
    _stage("teacher", "weights"),
    _stage("distill", "student", settings=("seed",), inputs=("teacher/weights",)),
    _stage("export", "onnx", inputs=("distill/student",)),
    _stage("build", "engine", settings=("build.int8_steps",), inputs=("export/onnx",)),
)


@dataclass
class ThreadLauncher:
    """Runs jobs in this process, and remembers them; one that is idle stores nothing."""

    jobs: list[Job] = field(default_factory=list)
    is_idle: bool = False

    def __call__(self, job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        self.jobs.append(job)
        if stop_asked():
            return Finished(job, exit_codes.INTERRUPTED, "")
        project = job.combinations[0].project
        runner = Runner(project.settings, job.store, DigestCache(), [on_event])
        try:
            runner.run([] if self.is_idle else selected(project.stages, [job.target]))
        except StageError as error:
            return Finished(job, error.exit_code, str(error))
        return Finished(job, exit_codes.DONE, "")


@dataclass
class Bench:
    """A sweep's jobs on real stores."""

    open: Callable[..., Project]
    launcher: ThreadLauncher = field(default_factory=ThreadLauncher)
    events: list[tuple[int, Event]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_stopped: bool = False

    def combinations(self, *changes: str) -> list[Combination]:
        return [
            Combination(number, (change,), self.open(change))
            for number, change in enumerate(changes, start=1)
        ]

    def run(self, *changes: str, target: str = "build") -> dict[int, str]:
        combinations = self.combinations(*changes)
        store = combinations[0].project.store
        store.prepare()
        waves = SideBySide(
            store=store,
            launcher=self.launcher,
            jobs=2,
            command="sweep",
            lock_wait_s=5.0,
            stop_asked=lambda: self.is_stopped,
            on_event=lambda number, event: self.events.append((number, event)),
            note=self.notes.append,
        )
        return waves.run(combinations, target)

    def planned(self, change: str) -> list[str]:
        return [item.action for item in self.open(change).plan(["all"])]

    def ran(self) -> list[tuple[str, str]]:
        return sorted((job.stage, job.target) for job in self.launcher.jobs)


@pytest.fixture
def bench(project: Callable[..., Project], code: Callable[..., None]) -> Bench:
    path = project().path
    code(CODE)

    def declare(_settings: Settings, _root: object) -> tuple[Stage, ...]:
        return STAGES

    return Bench(lambda *changes: Project.open(path, changes, declare))


def test_a_shared_stage_runs_once_and_the_rest_of_a_chain_in_one_job(bench: Bench) -> None:
    assert bench.run("seed=1", "seed=2", "seed=3") == {}
    assert bench.ran() == [("distill", "export")] * 3 + [("teacher", "teacher")]
    assert bench.planned("seed=2") == ["hit", "hit", "hit", "run"]
    waiting = [(number, e.fields["text"]) for number, e in bench.events if e.kind == "waiting"]
    assert waiting == [(number, "waits for its teacher, which is that of [1]") for number in (2, 3)]


def test_combinations_that_differ_only_where_time_is_measured_share_all_jobs(
    bench: Bench,
) -> None:
    assert bench.run("build.int8_steps=1", "build.int8_steps=2") == {}
    assert bench.ran() == [("distill", "distill"), ("export", "export"), ("teacher", "teacher")]


def test_what_is_stored_is_no_job(bench: Bench) -> None:
    bench.run("seed=1", target="distill")
    bench.launcher.jobs.clear()
    assert bench.run("seed=1", "seed=2") == {}
    assert bench.ran() == [("distill", "export"), ("export", "export")]


def test_what_another_machine_computed_needs_nothing_of_this_one(
    bench: Bench, tmp_path: Path
) -> None:
    def declare(_settings: Settings, _root: object) -> tuple[Stage, ...]:
        lack = Unsupported(setting="distill.precision", wrong="is not here (x)", remedy="use y")
        teacher, distill, *others = STAGES
        return (teacher, replace(distill, requires=(lack,)), *others)

    bench.run("seed=1", "seed=2", target="distill")
    store, path = bench.open().store, bench.open().path
    shared = Store(tmp_path / "shared")
    shared.prepare()
    copy_entries(store, shared)
    shutil.rmtree(store.home)
    bench.launcher.jobs.clear()
    remote = f'cache.remote="{shared.home}"'
    bench.open = lambda *changes: Project.open(path, (*changes, remote), declare)
    errors = bench.run("seed=1", "seed=2", "seed=3")
    assert list(errors) == [3]
    assert "is not here (x)" in errors[3]
    assert bench.ran() == [("export", "export")] * 2
    assert bench.notes == [
        f"{stage}: taken from the shared cache ({shared.home})"
        for stage in ("teacher", "distill", "distill")
    ]


def test_one_that_fails_keeps_no_other_from_going_on(bench: Bench) -> None:
    errors = bench.run("seed=13", "seed=2")
    assert list(errors) == [1]
    assert "an unlucky number" in errors[1]
    assert bench.planned("seed=2")[:3] == ["hit", "hit", "hit"]
    # The failure's file has come back with the unfinished stage, and the message names its place.
    store = bench.open("seed=13").store
    (failure,) = store.home.glob("work/distill/*/failure.txt")
    assert str(failure) in errors[1]
    assert not list((store.home / "sweep").glob("*-*"))


@pytest.mark.filterwarnings("error")
def test_a_job_that_cannot_be_brought_back_ends_the_others_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a warning of joblib's, which drops those that run where its loop is left."""

    def fail(job: Store, store: Store, *, wait_s: float) -> None:
        if job.home.name.startswith("distill"):
            raise StoreError("entries", "cannot be written (full)", "free space")
        stores.bring_back(job, store, wait_s=wait_s)

    launch, codes = bench.launcher, list[int]()

    def first_ends_and_others_go_on(job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        end_s = time.monotonic() + 60
        while job.stage == "distill" and job.combinations[0].number != 1 and not stop_asked():
            assert time.monotonic() < end_s, "nobody asked it to stop"
            time.sleep(0.01)
        ended = launch(job, on_event, stop_asked)
        codes.append(ended.code)
        return ended

    monkeypatch.setattr("pipeline.sweep.side_by_side.bring_back", fail)
    monkeypatch.setattr(bench, "launcher", first_ends_and_others_go_on)
    with pytest.raises(StoreError, match="full"):
        bench.run("seed=1", "seed=2", "seed=3")
    assert codes == [0, 0, 130, 130]  # of the teacher, the first and the others
    monkeypatch.undo()
    bench.launcher.jobs.clear()
    assert bench.run("seed=1", "seed=2", "seed=3") == {}
    assert bench.ran() == [("distill", "export")] * 2  # the first is brought back


def test_a_screen_that_is_gone_ends_all_jobs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = StoreError("standard output", "cannot be written (full)", "free space")
    stops: list[bool] = []

    def start(job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        if job.stage == "teacher":
            return launch(job, on_event, stop_asked)
        if job.combinations[0].number == 1:
            raise gone
        end_s = time.monotonic() + 60
        while not stop_asked() and time.monotonic() < end_s:
            time.sleep(0.01)
        stops.append(stop_asked())
        return Finished(job, exit_codes.INTERRUPTED, "")

    launch = bench.launcher
    monkeypatch.setattr(bench, "launcher", start)
    with pytest.raises(StoreError) as caught:
        bench.run("seed=1", "seed=2")
    assert caught.value is gone
    assert stops == [True]


def test_a_job_that_cannot_be_started_keeps_no_other_from_going_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = bench.launcher

    def start(job: Job, on_event: OnEvent, stop_asked: StopAsked) -> Finished:
        if job.combinations[0].number == 2 and job.stage == "distill":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(job.store.home / "errors"))
        return launch(job, on_event, stop_asked)

    monkeypatch.setattr(bench, "launcher", start)
    errors = bench.run("seed=1", "seed=2", "seed=3")
    assert list(errors) == [2]
    home = bench.open().store.home
    assert errors[2].startswith(f"{home}: cannot be read or written (Too many open files); free")
    assert bench.planned("seed=3")[:3] == ["hit", "hit", "hit"]


def test_a_job_that_stores_no_result_of_its_key_is_an_error_and_not_repeated(bench: Bench) -> None:
    bench.launcher.is_idle = True
    errors = bench.run("seed=1", "seed=2")
    assert len(bench.launcher.jobs) == 1
    assert "teacher: its job stored no result of this key" in errors[1]
    assert sorted(errors) == [1, 2]


def test_a_stop_raises_and_starts_nothing_more(bench: Bench) -> None:
    bench.is_stopped = True
    with pytest.raises(Interrupted):
        bench.run("seed=1", "seed=2")
    assert bench.launcher.jobs == []
