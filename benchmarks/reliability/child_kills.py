"""Signals while a child of a run works: to the child, or to the run that waits for it.

`engine-child-kills`: the child that builds an engine, with TensorRT-RTX for a named architecture.
Its engines come out byte by byte, but for numbers in the names of what is between two layers, which
two builds left alone do not have in common. Killed, it is an error of the stage.

`distributed-kills`: one of two processes that distil, by gloo on this machine. Two equal runs of
two processes leave the same bytes, so a resumed one has to as well.

Not tested: a build for the GPU that is here, NCCL, two machines.
"""

import functools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability import aftermath, left_alone, marked_processes, small_project
from benchmarks.reliability.cases import Case, Outcome, Piece

_CASES = 40
_TRIES = 5
_COMES_WITHIN_S = 300.0
_LIFETIME = "lifetime.json"
_TO_CHILD = ("SIGKILL to the child", signal.SIGKILL)
_TO_RUN = ("SIGKILL to the run", signal.SIGKILL)
_STOP = ("SIGTERM to the run", signal.SIGTERM)
_HOW = (_TO_CHILD, _TO_RUN, _TO_CHILD, _STOP)


class Kind(NamedTuple):
    """What a run has a child for."""

    piece: str
    settings: str
    stages: tuple[str, ...]
    """Up to the one that has the child."""
    child: str
    """Words in the command line of the child."""
    error: str
    """What the run says where the child was killed."""


class Ended(NamedTuple):
    """How a run ended that a signal met while its child lived."""

    code: int
    stderr: str
    after_s: float
    """After how much of the child's life."""
    seconds: float
    """From the signal to the end of the run."""


ENGINE = Kind(
    piece="engine-child-kills",
    settings=small_project.SETTINGS.replace(
        'backend = "onnxruntime"', 'backend = "tensorrt-rtx"\ntargets = ["sm89"]'
    ),
    stages=("teacher", "distill", "export", "build"),
    child="stages.engines.tensorrt.worker",
    error="crashed (killed by SIGKILL)",
)
DISTRIBUTED = Kind(
    piece="distributed-kills",
    settings=small_project.SETTINGS.replace(
        "rounds = 6", 'method = "mad"\nprocesses = 2\nrounds = 12'
    ),
    stages=("teacher", "distill"),
    child="spawn_main",
    # Processes are numbered from 0.
    error="process 1 of 2 was lost (killed by SIGKILL)",
)


def prepare(kind: Kind, shared: Path) -> None:
    """Run a project undisturbed, and measure how long the child lives in another.

    Raises:
        AssertionError: A run failed, or had no child.
    """
    left_alone.make(shared, settings=kind.settings, stages=kind.stages)
    project = _copy(shared / "lifetime", shared, kind)
    watched = left_alone.variables(shared, project, project.with_name("calls"))
    process = small_project.start(project, "run", kind.stages[-1], variables=watched)
    child = marked_processes.appeared(str(project), kind.child, within_s=_COMES_WITHIN_S)
    assert child is not None, process.communicate()
    begin_s = time.perf_counter()
    while child in marked_processes.living(str(project)):
        time.sleep(0.02)
    lifetime_s = time.perf_counter() - begin_s
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    (shared / _LIFETIME).write_text(json.dumps(lifetime_s), encoding="utf-8")


def _copy(folder: Path, shared: Path, kind: Kind) -> Path:
    """Return a copy of the project in which all but the last stage are stored."""
    folder.mkdir()
    alone = left_alone.load(shared)
    project = folder / "project"
    shutil.copytree(alone.project, project, ignore=shutil.ignore_patterns("tmp"))
    shutil.rmtree(project / ".madpipe" / "entries" / kind.stages[-1])
    return project


def _strike(case: Case, project: Path, shared: Path, kind: Kind, share: float) -> Ended | None:
    """Send a signal after a share of the child's life; None where one of the two had ended."""
    what, number = _HOW[case.number % len(_HOW)]
    lifetime_s = json.loads((shared / _LIFETIME).read_text(encoding="utf-8"))
    watched = left_alone.variables(shared, project, project.with_name("calls"))
    process = small_project.start(project, "run", kind.stages[-1], variables=watched)
    child = marked_processes.appeared(str(project), kind.child, within_s=_COMES_WITHIN_S)
    time.sleep(share * lifetime_s)
    if child is None or child not in marked_processes.living(str(project)):
        process.communicate(timeout=aftermath.LONGEST_S)
        return None
    begin_s = time.perf_counter()
    if what == _TO_CHILD[0]:
        os.kill(child, number)
    else:
        process.send_signal(number)
    _, stderr = process.communicate(timeout=aftermath.LONGEST_S)
    seconds = time.perf_counter() - begin_s
    return Ended(process.returncode, stderr, share * lifetime_s, seconds)


def play(kind: Kind, case: Case, folder: Path, shared: Path) -> Outcome:
    """Let a signal meet a run while its child lives, and run the command again."""
    choose = random.Random(case.seed)  # noqa: S311
    for attempt in range(_TRIES):
        project = _copy(folder / str(attempt), shared, kind)
        ended = _strike(case, project, shared, kind, choose.random() * 0.8**attempt)
        if ended is None:
            continue
        what, _ = _HOW[case.number % len(_HOW)]
        remark = f"{ended.code}, {ended.after_s:.2f} s into the child's life"
        fault = _end_fault(what, ended, kind)
        figures: dict[str, float] = {"end_s": round(ended.seconds, 2)}
        if not fault:
            fault, seen = aftermath.fault(project, shared, left_alone.load(shared))
            figures |= seen
        return Outcome(fault=fault, remark=remark, figures=figures)
    return Outcome(fault=f"no signal met a child in {_TRIES} tries")


def _end_fault(what: str, ended: Ended, kind: Kind) -> str:
    """Return what is wrong with how the run ended, "" where nothing is."""
    if what == _TO_RUN[0]:
        wanted = -signal.SIGKILL
        return "" if ended.code == wanted else f"expected {wanted}, seen {ended.code}"
    if ended.code == 0 and not ended.stderr:
        return ""  # the child's work was done
    expected, words = (130, "interrupted") if what == _STOP[0] else (1, kind.error)
    return aftermath.error_fault(ended.code, ended.stderr, expected=expected, words=words)


def _cases(kind: Kind) -> Callable[[int], list[Case]]:
    def cases(seed: int) -> list[Case]:
        return [
            Case.numbered(number, _HOW[number % len(_HOW)][0], piece=kind.piece, seed=seed)
            for number in range(_CASES)
        ]

    return cases


def _piece(kind: Kind, claim: str) -> Piece:
    play_kind = functools.partial(play, kind)
    return Piece(kind.piece, claim, _cases(kind), play_kind, functools.partial(prepare, kind))


ENGINE_CHILD_KILLS = _piece(
    ENGINE, "a killed build says so, leaves no process, and is built in the same bytes by the next"
)
DISTRIBUTED_KILLS = _piece(
    DISTRIBUTED, "where one of two that distil is lost the other ends, and the next run goes on"
)
