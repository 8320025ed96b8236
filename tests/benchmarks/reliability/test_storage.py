"""Pieces of the campaign on storage that fails: a few cases, and faults that are planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import (
    garbage,
    small_project,
    storage_commands,
    storage_judge,
    storage_places,
    storage_shim,
    storage_writes,
)
from benchmarks.reliability.cases import Case
from benchmarks.reliability.small_project import Ended
from benchmarks.reliability.storage_commands import Leaves
from benchmarks.reliability.storage_judge import Kept
from benchmarks.reliability.storage_shim import Fault, Seen, Shim, Site

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="the shim needs gcc and Linux"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    storage_shim.compiled(folder)
    small_project.write(folder / "whole")
    return folder


def run(shared: Path, folder: Path, script: str, fault: Fault) -> tuple[str, list[Seen]]:
    """Run Python on a folder below the shim; return its output and what the shim saw."""
    root = folder / "root"
    root.mkdir()
    shim = Shim(shared / "storage_shim.so", folder / "scratch")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env=small_project.environment(**shim.variables(root, fault)),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr, shim.seen()


WRITES = "import os\nf = open('f', 'wb', buffering=0)\nprint(f.write(b'12'), f.write(b'3456'))\n"


def test_the_write_that_was_named_fails_and_no_other(shared: Path, tmp_path: Path) -> None:
    output, seen = run(shared, tmp_path, WRITES, Fault(Site("write", "f", 2), 2, "EDQUOT"))
    assert "Disk quota exceeded" in output
    calls = [(call.call, call.path, call.is_failed) for call in seen]
    assert calls == [("open", "f", False), ("write", "f", False), ("write", "f", True)]
    assert (tmp_path / "root" / "f").read_bytes() == b"12"


def test_a_disk_becomes_full_within_a_write(shared: Path, tmp_path: Path) -> None:
    fault = Fault(Site("write", "f", 2), 2, "ENOSPC", stays=True, is_short=True)
    output, _ = run(shared, tmp_path, WRITES + "os.mkdir('g')\n", fault)
    assert output.startswith("2 2\n")
    assert "No space left on device: 'g'" in output
    assert (tmp_path / "root" / "f").read_bytes() == b"1234"


def test_the_clock_jumps_at_a_call(shared: Path, tmp_path: Path) -> None:
    script = "import os, time\nt = time.time()\nos.mkdir('d')\nprint(round(time.time() - t, -3))\n"
    output, _ = run(shared, tmp_path, script, Fault(Site("mkdir", "d", 1), clock_s=-86_400_000))
    assert output == "-86400000.0\n"


def test_names_that_change_are_one_place() -> None:
    assert storage_shim.pattern("h/newest.0123456789ab.part") == "h/newest.*.part"
    assert storage_shim.pattern("p.77.replaced.part/old") == "p.*.replaced.part/old"
    assert storage_shim.pattern("entries/a/0123456789abcdef/x") == "entries/a/*/x"


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        (".madpipe/layout.json", 0),
        (".madpipe/runs", 0),
        (".madpipe/work", 0),
        (".madpipe/work/export/k/out", 2),
        (".madpipe/entries/validate/newest", 4),
        (".madpipe/lock.json", 4),
        (".madpipe/digests.json.*.part", 4),
        (".madpipe/runs/*.json", 4),
    ],
)
def test_a_case_starts_right_before_its_place(path: str, stages: int) -> None:
    assert storage_writes.stored_before(path) == stages


@pytest.mark.parametrize("index", range(4))
def test_every_write_of_init_fails_once(shared: Path, tmp_path: Path, index: int) -> None:
    case = Case.numbered(index, f"init --config new.toml: {index}", piece="test", seed=0)
    outcome = storage_commands.play(case, tmp_path, shared)
    assert outcome.fault == ""
    assert "exit 1" in outcome.remark


GOOD = "/p/a/f: cannot be written (No space left on device); free space\n"


@pytest.mark.parametrize(
    ("code", "stderr", "wrong"),
    [
        (1, GOOD, ""),
        (1, "a/f: cannot be written (full); free space\n", ""),
        (0, GOOD, "exit code 0"),
        (2, GOOD, "exit code 2"),
        (1, GOOD + GOOD, "2 lines"),
        (1, "Traceback (most recent call last):\n", "foreign text"),
        (1, "/p/a/f: failed (RuntimeError: x); see it\n", "foreign text"),
        (1, "/p/a/f: cannot be written (No space left on device)\n", "what to do"),
        (1, "/p/b: cannot be written (No space left on device); free space\n", "the path"),
        (1, "/p: cannot be written (No space left on device); free space\n", "the path"),
    ],
)
def test_a_message_that_lacks_something_is_a_fault(code: int, stderr: str, wrong: str) -> None:
    paths = [Path("/p/a/f.0123456789ab.part")]
    fault = storage_judge.message_fault(Ended(code, "", stderr), Path("/p"), paths)
    assert wrong in fault
    assert bool(wrong) == bool(fault)


def test_the_work_of_a_stage_is_removed_as_a_whole_and_may_be_named_so() -> None:
    stderr = "/p/h/work/make/key: cannot be read or written (busy); free space\n"
    for name, is_fault in (("work/make/key/checkpoint/state", False), ("work/make/other", True)):
        fault = storage_judge.message_fault(Ended(1, "", stderr), Path("/p"), [Path("/p/h", name)])
        assert bool(fault) == is_fault


def test_an_entry_that_cannot_be_moved_aside_may_be_named() -> None:
    stderr = "/p/h/entries/make/key: cannot be read or written (busy); free space\n"
    for name, is_fault in (("replaced", False), ("out", True)):
        paths = [Path("/p/h/work/make/key", name)]
        fault = storage_judge.message_fault(Ended(1, "", stderr), Path("/p"), paths)
        assert bool(fault) == is_fault


def test_what_was_stored_and_is_lost_or_changed_is_a_fault(tmp_path: Path) -> None:
    entry = tmp_path / "entries" / "make" / "key"
    entry.mkdir(parents=True)
    (entry / "f").write_bytes(b"one")
    before = storage_judge.kept(tmp_path)
    assert "record is missing" in storage_judge.store_fault(tmp_path, before)
    (entry / "f").write_bytes(b"two")
    assert "other bytes" in storage_judge.store_fault(tmp_path, before)
    (entry / "f").unlink()
    assert "lost" in storage_judge.store_fault(tmp_path, before)
    assert before != Kept({})


def test_cases_that_came_later_have_numbers_behind_the_others() -> None:
    """Ledgers of campaigns go by number."""
    commands = {case.number: case.what for case in storage_commands.cases(0)}
    assert commands[605] == "cache gc --keep 1: 0"
    assert commands[613] == "cache gc --keep 1: 8"
    assert commands[614] == "run build --force build: 0"
    assert commands[1122].endswith("--jobs 2 --out s.html: 298")
    assert commands[1123] == "cache gc --keep 1: 9"
    places = [case.what for case in storage_places.cases(0)]
    assert (places[0], places[101], places[102]) == ("full", "full", "full gc")
    collected = [case.what for case in garbage.cases(0)]
    assert (collected[0], collected[49], collected[50]) == ("run_all", "run_all", "at_once")


def test_a_message_may_name_where_the_files_of_a_sweep_s_job_come_back_to() -> None:
    failed = [Path("/p/.madpipe/sweep/distill-ab/entries/distill/newest.0f.part")]
    text = "/p/{}: cannot be read or written (No space left on device); free space\n"
    for place in (
        ".madpipe/entries/distill/newest",
        ".madpipe/sweep/distill-ab/entries/distill",
        ".madpipe/sweep/distill-ab",
    ):
        ended = Ended(1, "", text.format(place))
        assert storage_judge.message_fault(ended, Path("/p"), failed) == ""
    on_the_way = Ended(1, "", text.format(".madpipe/entries/distill/newest/more"))
    assert storage_judge.message_fault(on_the_way, Path("/p"), failed) == ""
    other = Ended(1, "", text.format(".madpipe/entries/export/newest"))
    assert "does not name the path" in storage_judge.message_fault(other, Path("/p"), failed)


def test_a_file_that_is_half_there_or_missing_is_a_fault() -> None:
    whole, old = Leaves({"f": "new"}), Leaves({"f": "old"})
    assert storage_commands.files_fault(old, old, whole) == ""
    assert storage_commands.files_fault(whole, old, whole) == ""
    assert "lost" in storage_commands.files_fault(Leaves({}), old, whole)
    assert "neither" in storage_commands.files_fault(Leaves({"f": "half"}), old, whole)
    assert "neither" in storage_commands.files_fault(Leaves({"f": "half"}), Leaves({}), whole)
    assert "without f" in storage_commands.missing(Leaves({}), whole)
    assert "another" in storage_commands.missing(old, whole)
