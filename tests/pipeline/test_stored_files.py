"""Whatever lies on disk, reading it as JSON ends, and with one kind of error."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import estimates, run_records, stored_files
from pipeline.cache.store import Store
from pipeline.errors import StoreError
from pipeline.gates import measurement_files, measurements, pictures

DEEP = b'{"unknown":' * 100_000
BROKEN = {"deep": DEEP + b"1" + b"}" * 100_000, "no text": b'{"x": "\xff"}', "cut": b'{"x'}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_record_is_one_kind_of_error(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        stored_files.decode(content, dict[str, Any])
    with pytest.raises(ValueError):  # noqa: PT011  (of Python's reader, whatever it says)
        stored_files.loads(content)


@pytest.mark.parametrize("name", ["entry.json", "newest", "layout.json", "digests.json"])
def test_a_pipe_in_the_store_is_not_waited_for(store: Store, name: str) -> None:
    folder = store.home / "entries" / "distill" / "0123"
    folder.mkdir(parents=True)
    place = {"entry.json": folder, "newest": folder.parent}.get(name, store.home)
    (place / name).unlink(missing_ok=True)
    os.mkfifo(place / name)
    assert store.newest("distill") is None
    assert estimates.load(store.home) == {}
    if name == "entry.json":
        ((_, lookup),) = store.entries()
        assert "is a pipe or a device" in str(lookup.damage)
    if name == "layout.json":
        with pytest.raises(StoreError, match=r"^.*layout.json: cannot be read"):
            store.check_layout()


def test_what_is_nested_deep_is_refused_where_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(BROKEN["deep"])
    with pytest.raises(StoreError, match="nested too deep"):
        measurement_files.read(path, measurements.Measurements)
    with pytest.raises(StoreError, match="nested too deep"):
        pictures.read(path)
    with pytest.raises(StoreError, match="nested too deep"):
        run_records.read(path, remedy="remove it")


def test_a_file_that_is_far_larger_than_any_record_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(OSError, match="far larger than any record"):
        stored_files.read_bytes(path)
