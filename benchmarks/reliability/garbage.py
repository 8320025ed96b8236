"""`cache gc` at random moments of whatever else is done with the working folder.

While a command is at work, gc comes again and again, with all its options, and between commands.
It may refuse, since the folder is held; it may take what nobody needs. What the command ends with
equals what one that is left alone ends with, down to the bytes and keys, and what is not madpipe's
is there afterwards.
"""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.reliability import large_store, small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.small_project import STAGES, Ended, Results
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.cache.sync import copy_entries

CASES = 50
CASES_AT_ONCE = 10
"""After those of the other kinds, since the ledgers go by number."""
OPTIONS = ((), ("--keep", "1"), ("--unfinished",), ("--keep", "1", "--unfinished"))
_REFUSED = "another process is writing here"
_LONGEST_PAUSE_S = 1.0
_TURNS = 10
_LIMIT_S = 600.0
_FOREIGN = (
    "notes.txt",
    "entries/teacher/mine/weights",
    "entries/own/a/file",
    "work/distill/mine/x",
)
"""Files in the working folder that are not madpipe's."""


class Calls(NamedTuple):
    """How often gc came to its end, and how often it was refused."""

    done: int
    refused: int


def run_all(project: Path, chance: random.Random) -> Calls:
    """One run of all stages."""
    return _beside(project, chance, "run", "all")


def stage_by_stage(project: Path, chance: random.Random) -> Calls:
    """A command for each stage; between two of them nothing holds the folder."""
    calls = [_beside(project, chance, "run", stage) for stage in STAGES]
    return Calls(sum(t.done for t in calls), sum(t.refused for t in calls))


def stopped(project: Path, chance: random.Random) -> Calls:
    """A run that is stopped in distill and goes on; gc comes without --unfinished."""
    process = small_project.start(project, "run", "all")
    state = Store(project / ".madpipe")
    while not state.has_unfinished("distill") and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_LIMIT_S)
    before = state.has_unfinished("distill")
    first = collect(project, chance, options=OPTIONS[:2])
    assert state.has_unfinished("distill") == before, "gc took a checkpoint it was not asked for"
    calls = _beside(project, chance, "run", "all", options=OPTIONS[:2])
    return Calls(calls.done + first.done, calls.refused + first.refused)


def sweep(project: Path, chance: random.Random) -> Calls:
    """A sweep with jobs of its own, of which the last combination is the project as it is."""
    words = ("sweep", "distill.alpha=0.8,0.9,0.95", "--jobs", "2", "--to", "export")
    calls = _beside(project, chance, *words)
    ended = small_project.run(project, "run", "all", limit_s=_LIMIT_S)
    assert ended.code == 0, ended.stderr
    return calls


def pushed(project: Path, chance: random.Random) -> Calls:
    """A run that copies each stage to a shared cache as it ends."""
    changes = ("--set", 'cache.remote="shared"', "--set", "cache.push=true")
    (project / "shared").mkdir()
    calls = _beside(project, chance, "run", "all", *changes)
    other = Store(project / "shared")
    assert len([1 for _, lookup in other.entries() if lookup.entry]) == len(STAGES)
    return calls


def waiting(project: Path, chance: random.Random) -> Calls:
    """A run that waits for a folder that another process holds."""
    store = Store(project / ".madpipe")
    with write_lock(store, command="another"):
        process = small_project.start(project, "run", "all")
        time.sleep(chance.uniform(0.5, 3.0))
        held = collect(project, chance)
    calls = _follow(project, chance, process)
    return Calls(calls.done + held.done, calls.refused + held.refused)


def read(project: Path, chance: random.Random) -> Calls:
    """A run of what is stored, while another process has an entry's file open."""
    ended = small_project.run(project, "run", "all", limit_s=_LIMIT_S)
    assert ended.code == 0, ended.stderr
    entry = Store(project / ".madpipe").newest("distill")
    assert entry is not None
    with entry.output("student").open("rb") as file:
        calls = _beside(project, chance, "run", "all")
        assert len(file.read()) == entry.record.outputs["student"].bytes
    return calls


def at_once(project: Path, chance: random.Random) -> Calls:
    """Two runs at once with a setting each, of which all is stored, so that they hold no lock.

    gc comes at a random moment, and may take what was neither used last nor made last: entries of
    either, until its run marks them, and once the other has marked its own.
    """
    run = ("run", "all")
    words: list[tuple[str, ...]] = [run, (*run, "--set", "distill.alpha=0.8")]
    home, kept = project / ".madpipe", Store(project / "kept")
    for command in words:
        ended = small_project.run(project, *command, limit_s=_LIMIT_S)
        assert ended.code == 0, ended.stderr
    copy_entries(Store(home), kept)
    calls = Calls(0, 0)
    for _ in range(_TURNS):
        copy_entries(kept, Store(home))
        with contextlib.ExitStack() as on:
            processes = []
            for command in chance.sample(words, len(words)):
                process = small_project.start(project, *command)
                processes.append(on.enter_context(_killed_at_the_end(process)))
                time.sleep(chance.uniform(0.0, _LONGEST_PAUSE_S / 4))
            more = collect(project, chance, options=OPTIONS[1:2])
            errors = [process.communicate(timeout=_LIMIT_S)[1] for process in processes]
        for process, text in zip(processes, errors, strict=True):
            assert process.returncode == 0, f"exit code {process.returncode}: {text[-300:]}"
        calls = Calls(calls.done + more.done, calls.refused + more.refused)
    ended = small_project.run(project, "run", "all", limit_s=_LIMIT_S)
    assert ended.code == 0, ended.stderr
    return calls


KINDS: Sequence[Callable[[Path, random.Random], Calls]] = (
    run_all, stage_by_stage, stopped, sweep, pushed, waiting, read,
)  # fmt: skip


def cases(seed: int) -> list[Case]:
    """Return as many cases of each kind, and those of two runs at once after them."""
    return [
        Case.numbered(number, _kind(number).__name__, piece="gc", seed=seed)
        for number in range(CASES + CASES_AT_ONCE)
    ]


def _kind(number: int) -> Callable[[Path, random.Random], Calls]:
    return KINDS[number % len(KINDS)] if number < CASES else at_once


def prepare(shared: Path) -> None:
    """Run the project, left alone."""
    project = small_project.write(shared / "alone")
    ended = small_project.run(project, "run", "all", limit_s=_LIMIT_S)
    assert ended.code == 0, ended.stderr


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Play one kind with old entries and foreign files in the folder, and compare the results."""
    project = small_project.write(folder / "project")
    chance = random.Random(case.seed)  # noqa: S311  (moments, no secrets)
    home = project / ".madpipe"
    _leave_old(Store(shared / "alone" / ".madpipe"), Store(home))
    foreign = [home / name for name in _FOREIGN]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    try:
        calls = _kind(case.number)(project, chance)
    except AssertionError as error:
        return Outcome(fault=f"expected the command to end as if alone, seen: {error}")
    results = small_project.results(home)
    fault = judge(small_project.results(shared / "alone" / ".madpipe"), results, foreign)
    figures = {"collected": float(calls.done), "refused": float(calls.refused)}
    return Outcome(fault=fault, remark=f"gc {calls.done}, refused {calls.refused}", figures=figures)


def judge(alone: Results, results: Results, foreign: Sequence[Path]) -> str:
    """Return what differs from a run left alone or is gone that was not madpipe's."""
    if results != alone:
        return f"expected {alone}, seen {results}"
    gone = [path.name for path in foreign if not path.is_file()]
    return f"expected foreign files to stay, gone are {gone}" if gone else ""


def _leave_old(source: Store, target: Store) -> None:
    """Put entries that nobody needs any more, and unfinished stages, into a store."""
    target.prepare()
    for stage in STAGES:
        entry = source.newest(stage)
        assert entry is not None
        for number in range(4):
            large_store.copy_entry(target, entry, number)
        (target.home / "work" / stage / ("0f" * 8) / "out").mkdir(parents=True)


def _beside(
    project: Path,
    chance: random.Random,
    *words: str,
    options: Sequence[Sequence[str]] = OPTIONS,
) -> Calls:
    """Run a command with gc beside it."""
    return _follow(project, chance, small_project.start(project, *words), options=options)


def _follow(
    project: Path,
    chance: random.Random,
    process: "subprocess.Popen[str]",
    *,
    options: Sequence[Sequence[str]] = OPTIONS,
) -> Calls:
    """Call gc at random moments until a command ends; AssertionError where it ends badly."""
    done = refused = 0
    with _killed_at_the_end(process):
        while process.poll() is None:
            time.sleep(chance.uniform(0.0, _LONGEST_PAUSE_S))
            calls = collect(project, chance, options=options)
            done, refused = done + calls.done, refused + calls.refused
        _, errors = process.communicate()
    assert process.returncode == 0, f"exit code {process.returncode}: {errors[-300:]}"
    return Calls(done, refused)


@contextlib.contextmanager
def _killed_at_the_end(
    process: "subprocess.Popen[str]",
) -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        process.kill()


def collect(
    project: Path, chance: random.Random, *, options: Sequence[Sequence[str]] = OPTIONS
) -> Calls:
    """Call gc once; AssertionError where it neither ends well nor says who holds the folder."""
    ended: Ended = small_project.run(project, "cache", "gc", *chance.choice(options))
    is_refused = ended.code == 1 and _REFUSED in ended.stderr
    assert ended.code == 0 or is_refused, f"gc ended with {ended.code}: {ended.stderr}"
    return Calls(int(not is_refused), int(is_refused))


PIECE = Piece(
    name="gc",
    claim="cache gc takes nothing that a command at work needs, and nothing that is not madpipe's",
    cases=cases,
    play=play,
    prepare=prepare,
)
