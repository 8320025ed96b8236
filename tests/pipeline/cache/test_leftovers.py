"""What killed processes left is removed by the next that writes; what may be in use stays."""

import os
import time
from pathlib import Path

import pytest

from pipeline.cache import leftovers
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from tests.pipeline.cache.entries import files_below, put, record_of

HOURS_S = 7200.0


def leave(path: Path, *, age_s: float = HOURS_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    then_s = time.time() - age_s
    os.utime(path, (then_s, then_s))
    return path


@pytest.mark.parametrize(
    "name",
    ["digests.json", "runs/20260101T000000.000000Z-7.json", "track/a.json", "entries/make/newest"],
)
def test_the_part_of_a_killed_write_is_removed_under_the_lock(store: Store, name: str) -> None:
    part = leave(store.home / f"{name}.4711.part")
    with write_lock(store, command="madpipe run all"):
        assert not part.exists()


def test_a_part_that_may_be_written_now_stays(store: Store) -> None:
    part = leave(store.home / "digests.json.4711.part", age_s=1.0)
    leftovers.remove(store)
    assert part.exists()


def test_a_part_that_is_renamed_while_it_is_looked_at_is_left_to_its_writer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = leave(store.home / "track" / "a.json.4711.part", age_s=1.0)
    look = Path.lstat

    def renamed_and_looked_at(self: Path) -> os.stat_result:
        if self == part:
            part.rename(part.with_name("a.json"))
        return look(self)

    monkeypatch.setattr(Path, "lstat", renamed_and_looked_at)
    leftovers.remove(store)
    assert (store.home / "track" / "a.json").is_file()


@pytest.mark.parametrize("name", ["notes.part", "runs/a.x.part", "own/a.json.4711.part"])
def test_what_is_not_a_part_of_madpipe_stays(store: Store, name: str) -> None:
    mine = leave(store.home / name)
    leftovers.remove(store)
    assert mine.exists()


def test_work_whose_entry_is_stored_is_removed_and_other_work_stays(store: Store) -> None:
    entry, other = put(store), record_of(1, b"")
    done = store.work_path("make", entry.record.key)
    unfinished = store.work_path("make", other.key)
    for work in (done, unfinished):
        leave(work / "checkpoint" / "state")
    assert leftovers.work_of_entries(store) == [done]
    leftovers.remove(store)
    assert not done.exists()
    assert files_below(unfinished) == ["checkpoint/state"]


def test_work_beside_an_entry_whose_record_is_damaged_stays(store: Store) -> None:
    entry = put(store)
    (entry.path / "entry.json").write_bytes(b"{")
    state = leave(store.work_path("make", entry.record.key) / "checkpoint" / "state")
    leftovers.remove(store)
    assert state.exists()
