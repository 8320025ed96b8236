"""What a disturbed run left wrong is told; the judge of the campaign of kills is judged."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.reliability import aftermath, left_alone
from benchmarks.reliability.left_alone import Alone
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from tests.pipeline.cache.entries import put, record_of

STAGES = ("make",)
ENTRY = f"entries/make/{record_of(0, b'').key[:16]}"
EVENTS = b'{"kind":"point","step":1}\n{"kind":"note"}\n{"kind":"point","step":2}\n'


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    home = tmp_path / "alone" / ".madpipe"
    store = Store(home)
    with write_lock(store, command="a test"):
        entry = put(store)
        store.mark_newest("make", entry.record.key)
        (entry.path / "events.jsonl").write_bytes(EVENTS)
    seen = left_alone.digests(home, STAGES), left_alone.points(home, STAGES)
    return Alone(home.parent, STAGES, 1.0, [], *seen)


@pytest.fixture
def home(alone: Alone, tmp_path: Path) -> Path:
    return Path(shutil.copytree(alone.home, tmp_path / "disturbed" / ".madpipe"))


def other_bytes(home: Path) -> None:
    (home / ENTRY / "out.bin").write_bytes(b"others")


def no_entry(home: Path) -> None:
    (home / "entries/make/newest").unlink()


def other_key(home: Path) -> None:
    store = Store(home)
    shutil.rmtree(home / ENTRY)
    entry = put(store, 1)
    (entry.path / "events.jsonl").write_bytes(EVENTS)
    store.mark_newest("make", entry.record.key)


def two_entries(home: Path) -> None:
    put(Store(home), 1)


def lost_events(home: Path) -> None:
    (home / ENTRY / "events.jsonl").write_bytes(EVENTS.splitlines(keepends=True)[0])


def half_an_event(home: Path) -> None:
    (home / ENTRY / "events.jsonl").write_bytes(EVENTS + b'{"kind"')


def no_gitignore(home: Path) -> None:
    (home / ".gitignore").unlink()


def a_part(home: Path) -> None:
    (home / "runs" / "x.part").touch()


def work(home: Path) -> None:
    (home / "work" / "make" / "0123456789abcdef").mkdir(parents=True)


def nothing(_home: Path) -> None:
    pass


def what_the_next_run_removes(home: Path) -> None:
    (home / "digests.json.4711.part").touch()
    (home / "lock.json").write_bytes(b"{}")
    (home / "work" / ENTRY.removeprefix("entries/") / "checkpoint").mkdir(parents=True)


@pytest.mark.parametrize(
    ("disturb", "expected"),
    [
        (nothing, ""),
        (what_the_next_run_removes, ""),
        (other_bytes, "expected sound entries"),
        (no_entry, "expected sound entries"),
        (other_key, "expected the bytes of a run left alone, seen others: key of make"),
        (two_entries, "expected one entry a stage, seen others: make"),
        (lost_events, "expected figures of all steps in the events, seen none of {'make': [2]}"),
        (half_an_event, "expected sound entries"),
        (no_gitignore, "expected the files of a run left alone, seen no .gitignore"),
        (a_part, "expected the files of a run left alone, seen also runs/x.part"),
        (work, "expected the files of a run left alone, seen also work/make/0123456789abcdef"),
    ],
)
def test_what_a_run_left_alone_does_not_leave_is_a_fault(
    home: Path, alone: Alone, disturb: Callable[[Path], None], expected: str
) -> None:
    disturb(home)
    fault = left_alone.fault(home, alone)
    assert fault == expected if not expected else fault.startswith(expected)


@pytest.mark.parametrize(
    ("code", "stderr", "is_fault"),
    [
        (130, "stage distill: interrupted; the same command goes on\n", False),
        (0, "stage distill: interrupted\n", True),
        (-15, "", True),
        (130, "", True),
        (130, "Traceback\n  interrupted\n", True),
    ],
)
def test_a_stop_has_its_code_and_one_line(code: int, stderr: str, *, is_fault: bool) -> None:
    fault = aftermath.error_fault(code, stderr, expected=130, words="interrupted")
    assert bool(fault) is is_fault


def test_links_and_times_do_not_matter(home: Path, alone: Alone) -> None:
    os.utime(home / "layout.json", (0, 0))
    assert not left_alone.fault(home, alone)
