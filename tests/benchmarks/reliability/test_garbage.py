"""What gc took that was needed, or was not madpipe's, is seen; so is a gc that ends badly."""

import os
import random
from pathlib import Path

import pytest

from benchmarks.reliability import garbage, small_project, storage_mounts
from benchmarks.reliability.garbage import Calls
from benchmarks.reliability.small_project import Ended, Results
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store

CHANCE = random.Random(0)  # noqa: S311
RESULTS = Results({"distill": "a" * 64}, {"distill": "b" * 64})


def test_every_difference_is_a_fault(tmp_path: Path) -> None:
    mine = tmp_path / "notes.txt"
    mine.touch()
    assert garbage.judge(RESULTS, RESULTS, [mine]) == ""
    other = RESULTS._replace(digests={"distill": "c" * 64})
    assert garbage.judge(RESULTS, other, [mine]).startswith("expected Results(")
    mine.unlink()
    assert garbage.judge(RESULTS, RESULTS, [mine]).endswith("gone are ['notes.txt']")


def test_gc_of_a_held_folder_refuses_and_of_a_free_one_collects(tmp_path: Path) -> None:
    project = small_project.write(tmp_path / "project")
    store = Store(project / ".madpipe")
    (store.work_path("distill", "ab" * 32) / "out").mkdir(parents=True)
    with write_lock(store, command="madpipe run all"):
        assert garbage.collect(project, CHANCE, options=(("--unfinished",),)) == Calls(0, 1)
    assert list(store.home.glob("work/*/*"))
    assert garbage.collect(project, CHANCE, options=(("--unfinished",),)) == Calls(1, 0)
    assert not list(store.home.glob("work/*/*"))


@pytest.mark.skipif(storage_mounts.why_not() != "", reason=storage_mounts.why_not())
def test_gc_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    with storage_mounts.small_disk(tmp_path / "disk", 256):
        project = small_project.write(tmp_path / "disk")
        store = Store(project / ".madpipe")
        with write_lock(store, command="madpipe run all"):
            work = store.work_path("distill", "ab" * 32) / "out"
            work.mkdir(parents=True)
            (work / "student").write_bytes(bytes(100_000))
        storage_mounts.fill(project / "fill")
        assert os.statvfs(project).f_bavail == 0
        assert garbage.collect(project, CHANCE, options=(("--unfinished",),)) == Calls(1, 0)
        assert os.statvfs(project).f_bavail > 0


def test_a_gc_that_fails_otherwise_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Ended(1, "", "entry: cannot be read or written; check it")
    monkeypatch.setattr(small_project, "run", lambda *_words: ended)
    with pytest.raises(AssertionError, match="gc ended with 1: entry: cannot be read"):
        garbage.collect(tmp_path, CHANCE)
