"""Runs on one working folder, started at once."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from benchmarks.reliability import small_project
from benchmarks.reliability.processes import crowd
from benchmarks.reliability.processes.crowd import LONGEST_S, Crowd
from benchmarks.reliability.processes.observer import Observer
from benchmarks.reliability.small_project import Results

HOME = ".madpipe"
VARIANTS = {
    "as it stands": (),
    "four rounds": ("--set", "distill.rounds=4"),
    "five rounds": ("--set", "distill.rounds=5"),
}
"""Settings that share a teacher."""
_POLL_S = 0.05


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """What runs left alone came to."""

    seconds: float
    """Of the whole first one."""
    results: dict[str, Results]
    """Of each variant."""


def two(folder: Path, alone: Alone, random: Random) -> str:
    """Start the same command twice, and kill one."""
    return _crowd(folder, alone, ["as it stands"] * 2, 1, random)


def ten(folder: Path, alone: Alone, random: Random) -> str:
    """Start the same command ten times, and kill five."""
    return _crowd(folder, alone, ["as it stands"] * 10, 5, random)


def two_settings(folder: Path, alone: Alone, random: Random) -> str:
    """Start two commands, and kill one."""
    return _crowd(folder, alone, ["as it stands", "four rounds"], 1, random)


def ten_settings(folder: Path, alone: Alone, random: Random) -> str:
    """Start ten commands with settings in three variants, and kill three."""
    return _crowd(folder, alone, [*VARIANTS, *VARIANTS, *VARIANTS, "four rounds"], 3, random)


def impatient(folder: Path, alone: Alone, random: Random) -> str:
    """Start five that wait for no lock: who does not get it ends with 1 and says who has it."""
    project = small_project.write(folder / "project")
    commands = [("run", "all", "--set", "run.lock_wait_s=0")] * 5
    started = Crowd([project] * 5, commands, folder / "logs")
    kills = crowd.random_kills(1, 5, alone.seconds, random)
    with Observer(project / HOME, lambda: started.pids) as observer:
        endings = started.play(kills)
    if fault := crowd.fault_of(endings, started, (0, 1)) or crowd.overlap_of(observer):
        return fault
    refused = [ended.stderr for ended in endings if ended.code == 1]
    for text in refused:
        if "another process is writing here (" not in text or "lock_wait_s" not in text:
            return f"expected who holds the folder, saw {text[-300:]}"
    if not started.killed and len(refused) == len(endings):
        return "expected one to run, all were refused"
    return _same(project, ["as it stands"], alone)


def stopped(folder: Path, alone: Alone, random: Random) -> str:
    """Stop the holder as a terminal does: its lock stays its own, and it ends well."""
    project = small_project.write(folder / "project")
    started = Crowd([project], [("run", "all")], folder / "logs")
    [pid] = started.pids
    record = project / HOME / "lock.json"
    while not record.is_file() and started.processes[0].poll() is None:
        time.sleep(_POLL_S)
    time.sleep(random.uniform(0.0, alone.seconds / 2))
    os.kill(pid, signal.SIGSTOP)
    try:
        second = small_project.run(
            project, "run", "all", "--set", "run.lock_wait_s=2", limit_s=LONGEST_S
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    endings = started.play({})
    if fault := crowd.fault_of(endings, started):
        return fault
    if second.code != 1 or f"(process {pid} on " not in second.stderr:
        return f"expected 1 and process {pid}, ended with {second.code}: {second.stderr[-300:]}"
    return _same(project, ["as it stands"], alone)


def _crowd(folder: Path, alone: Alone, variants: Sequence[str], kills: int, random: Random) -> str:
    project = small_project.write(folder / "project")
    commands = [("run", "all", *VARIANTS[variant]) for variant in variants]
    started = Crowd([project] * len(commands), commands, folder / "logs")
    times = crowd.random_kills(kills, len(commands), 1.5 * alone.seconds, random)
    with Observer(project / HOME, lambda: started.pids) as observer:
        endings = started.play(times)
    if fault := crowd.fault_of(endings, started) or crowd.overlap_of(observer):
        return fault
    if not observer.writers:
        return "the observer saw nobody write"
    left = {variants[place] for place in range(len(variants)) if place not in started.killed}
    return _same(project, sorted(left), alone)


def _same(project: Path, variants: Sequence[str], alone: Alone) -> str:
    """Return where results differ from those of runs left alone; empty: nowhere.

    One more run of each variant finds its entries, and computes only after a kill of all others.
    """
    for variant in variants:
        ended = small_project.run(project, "run", "all", *VARIANTS[variant], limit_s=LONGEST_S)
        if ended.code:
            return f"{variant}: expected 0, ended with {ended.code}: {ended.stderr[-300:]}"
        seen = small_project.results(project / HOME)
        if seen != alone.results[variant]:
            return f"{variant}: expected {alone.results[variant]}, saw {seen}"
    return ""
