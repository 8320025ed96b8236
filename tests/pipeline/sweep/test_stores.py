"""Entries and unfinished stages go into a job's folder and back, and nothing is lost on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import estimates
from pipeline.cache.entry import Entry
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.errors import LockedError, StoreError
from pipeline.runner import Runner
from pipeline.stage import Stage
from pipeline.sweep.stores import bring_back, job_store, lend, link_entry, reclaim, sweep_store

KEY = "a" * 64


@pytest.fixture
def entry(run: Callable[..., Runner], code: Callable[..., None]) -> Entry:
    """A stored stage of the main store."""
    code("def one(ctx):\n    ctx.output('file').write_text('content')\n")
    stage = Stage(name="one", run="fakestages:one", outputs={"file": "file.txt"})
    return run((stage,)).entries["one"]


def test_an_entry_is_linked_whole_with_its_log(store: Store, entry: Entry) -> None:
    job = job_store(store, "two", KEY)
    lend(store, job, [entry], "two", KEY)
    linked = job.find("one", entry.record.key).entry
    assert linked is not None
    assert linked.output("file").samefile(entry.output("file"))
    assert (linked.path / "events.jsonl").is_file()


def test_without_links_it_is_copied(
    store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, _target: Path) -> None:
        raise OSError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    job = Store(store.home / "elsewhere")
    job.prepare()
    link_entry(entry, job)
    copied = job.find("one", entry.record.key).entry
    assert copied is not None
    assert not copied.output("file").samefile(entry.output("file"))


def test_an_unfinished_stage_goes_out_and_comes_back(store: Store) -> None:
    state = store.work_path("two", KEY) / "checkpoint" / "state"
    state.parent.mkdir(parents=True)
    state.write_text("half-way")
    job = job_store(store, "two", KEY)
    lend(store, job, [], "two", KEY)
    assert not state.exists()
    moved = job.work_path("two", KEY) / "checkpoint" / "state"
    moved.write_text("further")
    bring_back(job, store)
    assert state.read_text() == "further"
    assert not job.home.exists()


def test_what_a_job_took_comes_back_but_for_what_is_known(store: Store) -> None:
    def rate(each_s: float, **settings: int) -> estimates.StageRate:
        units = {"rounds": estimates.UnitRate(each_s=each_s, total=10)}
        return estimates.StageRate(settings=settings, units=units, other_s=0.0, memory_bytes=1)

    job = job_store(store, "two", KEY)
    lend(store, job, [], "two", KEY)
    alone, shared = rate(1.0, batch=2), rate(3.0, batch=2)
    estimates.save(store.home, {"known": alone, "changed": alone})
    job_rates = {"known": shared, "changed": rate(3.0, batch=4), "new": shared}
    estimates.save(job.home, job_rates)
    bring_back(job, store)
    (rates,) = estimates.load(store.home).values()
    assert rates == job_rates | {"known": alone}


def test_what_is_damaged_does_not_come_back(store: Store, entry: Entry) -> None:
    job = job_store(store, "two", KEY)
    lend(store, job, [entry], "two", KEY)
    linked = job.find("one", entry.record.key).entry
    assert linked is not None
    target = Store(store.home / "other")
    target.prepare()
    output = linked.output("file")
    output.unlink()
    output.write_text("changed")
    bring_back(job, target)
    assert target.read("one", entry.record.key) is None


def test_what_a_killed_sweep_left_is_reclaimed(store: Store, entry: Entry) -> None:
    job = job_store(store, "two", KEY)
    lend(store, job, [entry], "two", KEY)
    (store.home / "sweep" / "submitit-logs").mkdir()
    other = Store(store.home / "other")
    other.prepare()
    (other.home / "sweep").mkdir()
    job.home.rename(other.home / "sweep" / job.home.name)
    reclaim(other, pytest.fail)
    assert other.find("one", entry.record.key).entry is not None
    assert list((other.home / "sweep").iterdir()) == []


def test_a_job_that_still_runs_keeps_its_folder(store: Store) -> None:
    job = job_store(store, "two", KEY)
    notes: list[str] = []
    with write_lock(job, command="madpipe run two"):
        reclaim(store, notes.append)
        with pytest.raises(LockedError):
            bring_back(job, store)
    assert job.home.is_dir()
    assert "still runs" in notes[0]
    assert "madpipe run two" in notes[0]


@pytest.mark.parametrize("name", ["sweep", f"sweep/two-{KEY[:16]}"])
def test_no_folder_of_jobs_is_a_link(store: Store, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (outside / "work/two/x").mkdir(parents=True)
    (outside / "layout.json").write_text('{"layout": 1}', encoding="utf-8")
    link = store.home / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside, target_is_directory=True)
    with pytest.raises(StoreError, match="is a link"):
        sweep_store(store) if name == "sweep" else job_store(store, "two", KEY)
    if name != "sweep":
        with pytest.raises(StoreError, match="is a link"):
            reclaim(store, print)
    assert sorted(path.name for path in outside.rglob("*")) == ["layout.json", "two", "work", "x"]
