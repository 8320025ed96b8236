"""Sweeps whose combinations run side by side: killed, stopped, and gone on with."""

import json
import signal
import time
from dataclasses import dataclass

import psutil
import pytest

from tests.flow.conftest import MakeFolder
from tests.flow.processes import Event, Folder, Result
from tests.flow.test_resume import Middle

pytestmark = pytest.mark.slow

WORDS = ("sweep", "student.arch=resnet8,wrn16-1", "--jobs", "2", "--json")
ORPHAN_S = 60.0
"""How long a process whose parent was killed may take to notice."""


@dataclass(frozen=True)
class Stopped:
    """The same sweep three times: killed in teacher, stopped in distill, left alone."""

    folder: Folder
    killed: Result
    orphans: list[str]
    interrupted: Result
    page: str
    last: Result


@pytest.fixture(scope="module")
def stopped(make_folder: MakeFolder) -> Stopped:
    """A folder in which a sweep of two was killed, then interrupted, then left alone."""
    folder = make_folder()
    killed = folder.run_and_signal(*WORDS, when=Middle("teacher"), number=signal.SIGKILL)
    orphans = processes_left(folder)
    interrupted = folder.run_and_signal(*WORDS, when=Middle("distill"), number=signal.SIGTERM)
    page = (folder.path / ".madpipe" / "sweep.html").read_text("utf-8")
    return Stopped(folder, killed, orphans, interrupted, page, folder.run(*WORDS))


def processes_left(folder: Folder) -> list[str]:
    """Return the processes that run for a folder, once those that are ending have ended."""
    end_s = time.monotonic() + ORPHAN_S
    while True:
        left = [
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if str(folder.path) in " ".join(process.info["cmdline"] or ())
        ]
        if not left or time.monotonic() > end_s:
            return left
        time.sleep(0.2)


def statuses(result: Result, number: int) -> dict[str, str]:
    """Return the last status of each stage of one combination."""
    ended = [event for event in result.events if event["kind"] == "stage_done"]
    return {e["stage"]: e["status"] for e in ended if e.get("combination") == number}


def rows(result: Result) -> dict[int, Event]:
    """Return the row of each combination that is finished."""
    done = [event for event in result.events if event["kind"] == "combination_done"]
    return {event["combination"]: event for event in done}


def test_a_sweep_that_is_killed_leaves_no_process_behind(stopped: Stopped) -> None:
    assert stopped.killed.code == -signal.SIGKILL
    assert stopped.orphans == []


def test_the_same_command_goes_on_from_the_checkpoint_of_the_killed_one(stopped: Stopped) -> None:
    (teacher,) = [
        event
        for event in stopped.interrupted.events
        if event["kind"] == "stage_started" and event["stage"] == "teacher"
    ]
    assert teacher["resumed"]


def test_a_stop_ends_with_one_line_its_code_and_a_page(stopped: Stopped) -> None:
    assert stopped.interrupted.code == 130
    assert stopped.interrupted.errors == (
        "sweep: interrupted; the same command goes on from here\n"
    )
    assert "the same command goes on from here" in stopped.page
    assert "unfinished" in stopped.page
    assert processes_left(stopped.folder) == []


def test_the_last_one_goes_on_from_what_was_stopped_and_runs_the_teacher_no_more(
    stopped: Stopped,
) -> None:
    assert stopped.last.code == 0, stopped.last.errors
    started = [event for event in stopped.last.events if event["kind"] == "stage_started"]
    assert {event["stage"] for event in started} == {"distill"}
    assert any(event["resumed"] for event in started)
    assert {row["state"] for row in rows(stopped.last).values()} == {"done"}
    assert not list(stopped.folder.path.glob(".madpipe/sweep/*-*"))
    assert not list(stopped.folder.path.glob(".madpipe/work/*/*/checkpoint"))


def test_what_it_leaves_is_what_a_plain_run_takes_as_stored(stopped: Stopped) -> None:
    result = stopped.folder.run("run", "distill", "--json", "--set", "student.arch=wrn16-1")
    assert result.statuses() == {"teacher": "hit", "distill": "hit"}
    document = json.loads((stopped.folder.path / ".madpipe" / "sweep.json").read_text("utf-8"))
    assert [row["state"] for row in document["rows"]] == ["done", "done"]
    assert "is_interrupted" not in document


def test_every_combination_ends_as_a_hit(stopped: Stopped) -> None:
    for number in (1, 2):
        assert statuses(stopped.last, number) == {"teacher": "hit", "distill": "hit"}
