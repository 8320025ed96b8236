"""Power cuts of what real processes wrote, and what the piece sees where an fsync is missing."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from benchmarks.reliability import small_project
from benchmarks.reliability.power_cut import disk, judge, recording
from benchmarks.reliability.power_cut.disk import Disk
from benchmarks.reliability.power_cut.judge import Recorded
from benchmarks.reliability.power_cut.operations import (
    ROOT,
    Named,
    Operation,
    Renamed,
    Resized,
    Synced,
    Unnamed,
    Written,
)


def _can_record() -> bool:
    strace = shutil.which("strace")
    if strace is None:
        return False
    return not subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode


records = pytest.mark.skipif(not _can_record(), reason="strace records what processes write")

STAGE = """
import hashlib, shutil, sys
from pathlib import Path
from pipeline import atomic, checkpoint
from pipeline.cache import store as stores
from pipeline.cache.entry import EntryRecord, OutputRecord
from pipeline.cache.store import Store, remove_tree

def made(path):
    path.mkdir(parents=True, exist_ok=True)

left_out = {"sync": lambda path: None, "make_folders": made}
for name in sys.argv[1:]:
    for module in (atomic, checkpoint, stores):
        setattr(module, name, left_out[name])

store, key = Store(Path(".madpipe").resolve()), "ab" * 32
store.prepare()
work = store.work_path("make", key)
atomic.make_folders(work / "out")
kept = checkpoint.Checkpoints(
    work / "checkpoint", stage="make", every_s=0, stop_asked=lambda: False
)
for step in range(3):
    kept.keep(lambda path: path.write_bytes(b"state" * 2000 * (step + 1)))
atomic.write_bytes(work / "out" / "graph.bin", b"graph" * 3000)
shutil.copyfile(work / "out" / "graph.bin", work / "out" / "engine.bin")
(work / "out" / "events.jsonl").write_bytes(b"{}\\n" * 3000)
outputs = {}
for name in ("graph", "engine"):
    content = (work / "out" / f"{name}.bin").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    outputs[name] = OutputRecord(file=f"{name}.bin", sha256=digest, bytes=len(content))
record = EntryRecord(
    stage="make", key=key, key_document={}, outputs=outputs, metrics={}, seconds=1.0,
    resumed=False, created_utc="2026-01-01T00:00:00+00:00", madpipe="0", host={},
)
store.commit(work / "out", record)
remove_tree(work)
"""


def operations_of(folder: Path, *missing: str) -> list[Operation]:
    """Record a process that keeps checkpoints and stores an entry, some calls left out."""
    (folder / "project").mkdir()
    command = [sys.executable, "-P", "-c", STAGE, *missing]
    variables = small_project.environment(PYTHONPATH=str(Path(__file__).parents[3]))
    return recording.record(command, folder / "project", folder / "trace", variables)


def left(operations: Sequence[Operation], seed: int) -> dict[str, bytes | None]:
    """Return what a cut behind the operations may leave."""
    return Disk(operations, Random(seed)).files()  # noqa: S311  (not for secrets)


def faults_of(operations: Sequence[Operation], *, states: int) -> set[str]:
    """Judge states of every cut."""
    recorded, faults = Recorded(operations), set[str]()
    for cut in range(len(operations) + 1):
        for seed in range(states):
            faults.add(judge.fault(left(operations[:cut], seed), recorded, cut))
    return faults - {""}


@records
def test_no_cut_leaves_half_an_entry_or_half_a_checkpoint(tmp_path: Path) -> None:
    operations = operations_of(tmp_path)
    assert faults_of(operations, states=12) == set()
    recorded = Recorded(operations)
    assert set(recorded.due) == set(recorded.entries) == {f".madpipe/entries/make/{'ab' * 8}"}
    assert set(recorded.checkpoints) == {f".madpipe/work/make/{'ab' * 8}/checkpoint/state"}
    disk.write(left(operations, 0), tmp_path / "after")
    assert judge.store_fault(tmp_path / "after") == ""


@records
@pytest.mark.parametrize(
    ("missing", "wrong"),
    [("sync", "neither whole nor absent"), ("make_folders", "gone although")],
)
def test_missing_fsync_is_seen(tmp_path: Path, missing: str, wrong: str) -> None:
    assert any(wrong in fault for fault in faults_of(operations_of(tmp_path, missing), states=12))


@records
def test_recording_that_lacks_something_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.symlink('a', 'b')"]
    with pytest.raises(AssertionError, match="not followed"):
        recording.record(command, tmp_path, tmp_path / "trace", small_project.environment())


def contents(operations: Sequence[Operation]) -> set[bytes | None]:
    """Return what the file `f` may hold after a cut behind the operations; None: it is not there.

    What is half-written or half-lost counts as one.
    """
    states = {left(operations, seed).get("f") for seed in range(300)}
    return {x if x in (None, b"", b"old", b"newer") else b"part" for x in states}


REPLACED: list[Operation] = [
    Named(ROOT, "f", 1, is_folder=False),
    Written(1, 0, b"old"),
    Synced(1),
    Synced(ROOT),
    Named(ROOT, "f.part", 2, is_folder=False),
    Written(2, 0, b"new"),
    Written(2, 3, b"er"),
]


def test_name_may_come_without_the_bytes_that_no_fsync_covers() -> None:
    renamed = Renamed(ROOT, "f.part", ROOT, "f", 2)
    assert contents([*REPLACED, renamed]) == {b"old", b"", b"part", b"newer"}
    assert contents([*REPLACED, Synced(2), renamed]) == {b"old", b"newer"}
    assert contents([*REPLACED, Synced(2), renamed, Synced(ROOT)]) == {b"newer"}


def test_removed_file_may_be_back_until_its_folder_is_synced() -> None:
    removed = Unnamed(ROOT, "f", 1)
    assert contents([*REPLACED[:4], removed]) == {b"old", None}
    assert contents([*REPLACED[:4], removed, Synced(ROOT)]) == {None}


def test_file_without_a_durable_name_may_be_gone() -> None:
    assert contents(REPLACED[:3]) == {b"old", None}


def test_overwritten_file_may_hold_anything_between() -> None:
    assert contents([*REPLACED[:4], Resized(1, 0), Written(1, 0, b"newer")]) == {
        b"old", b"newer", b"part", b"",
    }  # fmt: skip
