"""A whole run that a signal ends, and the same command until it ends: nothing is lost or wrong.

Three of four kills come at a named call of the real process, so that every place at which a run
changes a file has its turn: between the write and the rename of an entry, in half of a checkpoint,
while the holder of the lock is named, while the memo, the rates, the record of the run or a pointer
are saved. The others come at a random time. What is compared: keys, every output of teacher,
distill and export, the engine, the figures of every step in the events, and the files that lie in
the working folder.

Not tested: a kill in the kernel, in the middle of one call.
"""

import functools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability import (
    aftermath,
    fault_points,
    left_alone,
    marked_processes,
    small_project,
)
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.fault_points import Strike
from benchmarks.reliability.small_project import Ended

_CASES = 200
_MANY_CASES, _MANY = 5, 20
_AT_RANDOM_TIMES = 4
"""Every fourth case."""
_TRIES = 4
_PROGRESS = "@(work/*/checkpoint/state|entries/*/????????????????)"
_MANY_SETTINGS = small_project.SETTINGS.replace("rounds = 6", "rounds = 40")
_MANY_CALLS = 60
"""A kill comes at one of so many calls behind the first progress."""


class Struck(NamedTuple):
    """A run that a signal met."""

    project: Path
    code: int
    stderr: str
    where: str
    has_begun: bool
    """Whether anything had been written."""


def place_number(case_number: int, count: int) -> int:
    """Return the number of a place: all cases together go evenly over a run."""
    rank = case_number - case_number // _AT_RANDOM_TIMES - 1
    return rank * count // (_CASES - _CASES // _AT_RANDOM_TIMES) % count


def struck_at_a_place(case: Case, project: Path, shared: Path, number: int) -> Struck | None:
    """Send a signal at a call that changes a file; None where the run did not make it."""
    alone, choose = left_alone.load(shared), random.Random(case.seed)  # noqa: S311
    places = fault_points.places(alone.calls)
    place = list(places)[place_number(case.number, len(places))]
    at, is_torn = choose.randint(1, places[place]), place.name == "write" and choose.random() < 0.7
    strike = Strike(number, at, place, is_torn=is_torn and number == signal.SIGKILL)
    log = project.with_name("calls")
    watched = left_alone.variables(shared, project, log, strike)
    ended = _run(project, watched, alone.target)
    if not fault_points.struck(log):
        return None
    where = f"{place}{f' ({at}.)' if at > 1 else ''}{', half of it' if strike.is_torn else ''}"
    return Struck(project, ended.code, ended.stderr, where, has_begun=True)


def _run(project: Path, variables: Mapping[str, str], target: str) -> Ended:
    limit_s = aftermath.LONGEST_S
    return small_project.run(project, "run", target, variables=variables, limit_s=limit_s)


def struck_at_a_time(project: Path, shared: Path, number: int, after_s: float) -> Struck | None:
    """Send a signal after so many seconds; None where the run had ended."""
    log = project.with_name("calls")
    watched, target = left_alone.variables(shared, project, log), left_alone.load(shared).target
    process = small_project.start(project, "run", target, variables=watched)
    time.sleep(after_s)
    if process.poll() is None:
        noted = fault_points.calls(log)
        send(process, number)
        _, stderr = process.communicate(timeout=aftermath.LONGEST_S)
        where = f"at {after_s:.2f} s, behind {noted[-1] if noted else 'nothing'}"
        return Struck(project, process.returncode, stderr, where, has_begun=bool(noted))
    process.communicate()
    return None


def send(process: "subprocess.Popen[str]", number: int) -> None:
    """Send a signal: SIGKILL to all of the process group, another to its leader."""
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def _strike(case: Case, folder: Path, shared: Path, number: int) -> Struck:
    """Let a signal meet a run; a run that ended before it came is played again."""
    alone, choose = left_alone.load(shared), random.Random(case.seed)  # noqa: S311
    after_s = choose.random() * alone.seconds
    for attempt in range(_TRIES):
        project = small_project.write(folder / str(attempt) / "project")
        if case.number % _AT_RANDOM_TIMES == 0:
            struck = struck_at_a_time(project, shared, number, after_s * 0.7**attempt)
        else:
            struck = struck_at_a_place(case, project, shared, number)
        if struck is not None:
            return struck
    message = f"no signal met a run in {_TRIES} tries"
    raise RuntimeError(message)


def _play_kill(case: Case, folder: Path, shared: Path) -> Outcome:
    struck = _strike(case, folder, shared, signal.SIGKILL)
    if struck.code != -signal.SIGKILL:
        return Outcome(fault=f"expected a killed run, seen exit code {struck.code}")
    fault, figures = aftermath.fault(struck.project, shared, left_alone.load(shared))
    return Outcome(fault=fault, remark=struck.where, figures=figures)


def _play_stop(case: Case, folder: Path, shared: Path) -> Outcome:
    struck = _strike(case, folder, shared, signal.SIGTERM)
    fault = stop_fault(struck)
    if fault:
        return Outcome(fault=fault, remark=struck.where)
    fault, figures = aftermath.fault(struck.project, shared, left_alone.load(shared))
    return Outcome(fault=fault, remark=f"{struck.code}: {struck.where}", figures=figures)


def stop_fault(struck: Struck) -> str:
    """Return what is wrong with how a run ended that was asked to stop, "" where nothing is.

    Before the command has written anything, Python itself may not have started it yet.
    """
    if struck.code == -signal.SIGTERM and not struck.has_begun:
        return ""
    if struck.code == 0 and not struck.stderr:
        return ""  # it was done when it would have looked
    return aftermath.error_fault(struck.code, struck.stderr, expected=130, words="interrupted")


def _play_many(case: Case, folder: Path, shared: Path) -> Outcome:
    """Kill one run again and again, each time behind some progress."""
    choose = random.Random(case.seed)  # noqa: S311
    project = small_project.write(folder / "project", settings=_MANY_SETTINGS)
    kills, where = 0, list[str]()
    while kills < _MANY:
        strike = Strike(signal.SIGKILL, choose.randint(1, _MANY_CALLS), after=_PROGRESS)
        log = folder / f"calls-{kills}"
        watched = left_alone.variables(shared, project, log, strike)
        ended = small_project.run(
            project, "run", "all", variables=watched, limit_s=aftermath.LONGEST_S
        )
        if not fault_points.struck(log):
            return Outcome(fault=f"expected {_MANY} kills, the run ended after {kills}: {ended}")
        if living := marked_processes.gone(str(project), within_s=aftermath.GONE_WITHIN_S):
            return Outcome(fault=f"expected no process after a kill, seen {living[0]}")
        kills += 1
        where.append(_stage_of(str(fault_points.calls(log)[-1])))
    fault, figures = aftermath.fault(project, shared, left_alone.load(shared))
    stages = ", ".join(f"{where.count(name)} {name}" for name in dict.fromkeys(where))
    return Outcome(fault=fault, remark=stages, figures=figures | {"kills": kills})


def _stage_of(call: str) -> str:
    return next((name for name in small_project.STAGES if f"/{name}/" in call), "between stages")


def _cases(piece: str, signal_name: str) -> Callable[[int], list[Case]]:
    def cases(seed: int) -> list[Case]:
        how = [f"{signal_name} at a random time", *[f"{signal_name} at a call"] * 3]
        return [
            Case.numbered(number, how[number % _AT_RANDOM_TIMES], piece=piece, seed=seed)
            for number in range(_CASES)
        ]

    return cases


def _many_cases(seed: int) -> list[Case]:
    what = f"{_MANY} kills in one run"
    return [Case.numbered(i, what, piece="many-kills", seed=seed) for i in range(_MANY_CASES)]


KILLS = Piece(
    "kills",
    "a run that was killed anywhere ends, by the same command, with the bytes of one left alone",
    _cases("kills", "SIGKILL"),
    _play_kill,
    left_alone.make,
)
STOPS = Piece(
    "stops",
    "a run that was asked to stop says so with 130, and ends in the same way",
    _cases("stops", "SIGTERM"),
    _play_stop,
    left_alone.make,
)
MANY_KILLS = Piece(
    "many-kills",
    f"a run that was killed {_MANY} times ends in the same way",
    _many_cases,
    _play_many,
    functools.partial(left_alone.make, settings=_MANY_SETTINGS),
)
