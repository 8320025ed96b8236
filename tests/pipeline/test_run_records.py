"""Each run leaves one small record, of which the newest is reported."""

from pathlib import Path

import pytest

from pipeline import run_records
from pipeline.cache.store import Store
from pipeline.errors import StoreError
from pipeline.run_records import RunRecord, StageRecord


def record(command: str) -> RunRecord:
    stage = StageRecord(name="make", status="ran", key="ab" * 32, elapsed_s=1.5)
    return RunRecord(
        started_utc="2026-01-01T00:00:00+00:00", command=command, elapsed_s=2.0, stages=[stage]
    )


def test_nothing_has_run_at_first(store: Store, tmp_path: Path) -> None:
    assert run_records.latest(store) is None
    assert run_records.latest(Store(tmp_path / "nowhere")) is None


def test_newest_record_comes_back_as_it_was(store: Store) -> None:
    run_records.save(store, record("first"))
    run_records.save(store, record("second"))
    assert run_records.latest(store) == record("second")
    assert len(list(store.runs_path.iterdir())) == 2


def test_the_last_run_is_the_newest_after_the_clock_was_set_back(store: Store) -> None:
    run_records.save(store, record("first"))
    (path,) = store.runs_path.iterdir()
    path.rename(path.with_name("99990101T000000.000000Z-1.json"))
    for command in ("second", "third"):
        run_records.save(store, record(command))
        assert run_records.latest(store) == record(command)


def test_part_of_a_record_is_not_taken_for_one(store: Store) -> None:
    run_records.save(store, record("first"))
    (store.runs_path / "99990101T000000.json.1.part").write_bytes(b"{")
    assert run_records.latest(store) == record("first")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff"])
def test_record_that_is_none_is_an_error_that_names_it(store: Store, content: bytes) -> None:
    (store.runs_path / "99990101T000000.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"99990101T000000.json: is no record of a run"):
        run_records.latest(store)


def test_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read or written"):
        run_records.save(Store(tmp_path / "nowhere"), record("first"))
