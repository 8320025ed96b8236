"""Several processes on one folder: what the piece sees, and a few of its cases."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.reliability import small_project
from benchmarks.reliability.processes import crowd, machines, piece
from benchmarks.reliability.processes.crowd import Crowd
from benchmarks.reliability.processes.observer import Observer
from benchmarks.reliability.processes.together import Alone
from benchmarks.reliability.small_project import Ended

NO_RUNS = Alone(seconds=1.0, results={})
WRITER = """
import sys, time
from pathlib import Path
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("ab"):
    print("open", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[int]]:
    """Two processes that have the log of a stage open, as no two may."""
    processes = []
    for stage in ("teacher", "distill"):
        log = tmp_path / "work" / stage / "0123" / "events.jsonl"
        command = [sys.executable, "-c", WRITER, str(log)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.communicate()


def test_two_that_write_at_once_are_seen(tmp_path: Path, writers: list[int]) -> None:
    observer = Observer(tmp_path, lambda: writers)
    observer.look()
    assert observer.overlaps == [(writers[0], writers[1])]
    assert crowd.overlap_of(observer)


def test_one_that_writes_is_no_overlap(tmp_path: Path, writers: list[int]) -> None:
    with Observer(tmp_path, lambda: writers[:1]) as observer:
        while not observer.writers:
            time.sleep(0.01)
    assert observer.writers == {writers[0]}
    assert not crowd.overlap_of(observer)


def test_writers_elsewhere_are_none(tmp_path: Path, writers: list[int]) -> None:
    observer = Observer(tmp_path / "other", lambda: writers)
    observer.look()
    assert not observer.writers


def test_who_is_killed_may_end_as_it_likes_and_nobody_else(tmp_path: Path) -> None:
    project = small_project.write(tmp_path / "project")
    started = Crowd([project] * 2, [("status",), ("run", "no-such-stage")], tmp_path / "logs")
    endings = started.play({})
    assert [ended.code for ended in endings] == [0, 2]
    assert crowd.fault_of(endings, started) == (
        f"process 1: expected (0,), ended with 2: {endings[1].stderr}"
    )
    started.killed.add(1)
    assert not crowd.fault_of(endings, started)
    endings = [Ended(0, "", "Traceback (most recent call last)"), endings[1]]
    assert "Traceback" in crowd.fault_of(endings, started)


def test_kills_leave_one_alive() -> None:
    kills = crowd.random_kills(5, 3, 10.0, Random(0))  # noqa: S311  (not for secrets)
    assert len(kills) == 2
    assert all(0.1 <= at_s <= 10.0 for at_s in kills.values())


def test_cases_follow_from_the_seed_and_hold_every_kind() -> None:
    cases = piece.cases(0)
    assert cases == piece.cases(0)
    assert {case.what for case in cases[:15]} == {case.what for case in cases}
    assert [case.number for case in cases] == list(range(len(cases)))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace lets flock fail")
def test_nobody_writes_where_there_are_no_locks(tmp_path: Path) -> None:
    assert machines.not_implemented(tmp_path, NO_RUNS, Random(0)) == ""  # noqa: S311
