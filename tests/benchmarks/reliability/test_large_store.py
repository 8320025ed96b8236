"""A large store is one of real entries, and a slow command is told from a quick one."""

from pathlib import Path

import pytest

from benchmarks.reliability import large_store, small_project
from benchmarks.reliability.large_store import ENTRIES, Command
from pipeline import run_records
from pipeline.cache.entry import damage_of
from pipeline.cache.store import Store
from pipeline.run_records import RunRecord
from tests.pipeline.cache.entries import put

PLAN = large_store.COMMANDS[0]


def test_copies_are_sound_entries_with_keys_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_project, "STAGES", ("make",))
    store = Store(tmp_path / "home")
    store.prepare()
    entry = put(store)
    store.mark_newest("make", entry.record.key)
    last = RunRecord(started_utc="2026-01-01", command="last", elapsed_s=1.0, stages=[])
    run_records.save(store, last)
    newest = run_records.newest_path(store)
    large_store.fill(store, 12, unfinished=7)
    entries = [lookup.entry for _, lookup in store.entries()]
    assert len({e.record.key for e in entries if e and damage_of(e) is None}) == 12
    assert all(e and store.find("make", e.record.key).entry for e in entries)
    assert store.newest("make") == entry
    assert len(list(store.runs_path.glob("*.json"))) == 13
    assert run_records.newest_path(store) == newest
    assert len(list(store.home.glob("work/make/*"))) == 7
    assert not store.has_unfinished("make")


@pytest.mark.parametrize(
    ("command", "few_s", "many_s", "fault"),
    [
        (PLAN, 0.2, 0.21, ""),
        (PLAN, 0.2, 0.25, "expected below 1.1 of the time, seen 1.250"),
        (PLAN, 0.31, 0.31, "expected below 0.3 s, seen 0.310 s"),
        (Command(("status",)), 0.31, 0.31, ""),
        (Command(("cache", "ls"), reads_all=True), 0.2, 0.2 + 0.001 * ENTRIES, ""),
        (
            Command(("cache", "ls"), reads_all=True),
            0.2,
            0.2 + 0.01 * ENTRIES,
            "expected below 0.003 s an entry, seen 0.0100 s",
        ),
    ],
)
def test_what_takes_longer_is_a_fault(
    command: Command, few_s: float, many_s: float, fault: str
) -> None:
    outcome = large_store.judge(command, [few_s] * 5, [many_s] * 5)
    assert outcome.fault == fault
    assert outcome.figures["n"] == 5
