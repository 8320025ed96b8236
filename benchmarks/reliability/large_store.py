"""A store of 5,000 entries: do commands that look for one of them take longer for it?

Two projects are alike but for what else lies in their working folders: a handful of entries in one,
in the other 5,000, as many records of runs, and unfinished stages by the hundred. The entries are
copies of real ones with keys of their own, made by `Store.commit`. Each command runs in both by
turns, each time as a process of its own. `cache ls` and `cache gc` look at every entry, so that
theirs is a bound for each entry.

Not tested: a working folder on a network, and a disk whose names are not in memory.
"""

import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.reliability import small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from pipeline.cache.entry import Entry
from pipeline.cache.keys import key_of
from pipeline.cache.store import Store

ENTRIES, FEW_ENTRIES = 5_000, 10
UNFINISHED = 300
_REPETITIONS = 15
MOST_PLAN_S = 0.3
MOST_RATIO = 1.1
MOST_EACH_S = 0.003
"""For each entry, of a command that looks at all of them."""


class Command(NamedTuple):
    """One command of madpipe that is timed."""

    words: Sequence[str]
    reads_all: bool = False
    """Whether it looks at every entry."""
    most_s: float | None = None
    """Bound on its time in the large store."""


COMMANDS = (
    Command(("plan",), most_s=MOST_PLAN_S),
    Command(("status",)),
    Command(("why", "distill")),
    Command(("run", "all")),
    Command(("report", "--format", "json")),
    Command(("cache", "ls"), reads_all=True),
    Command(("cache", "gc", "--keep", str(ENTRIES)), reads_all=True),
)


def cases(seed: int) -> list[Case]:
    """Return one case for each command."""
    return [
        Case.numbered(number, " ".join(command.words), piece="large-store", seed=seed)
        for number, command in enumerate(COMMANDS)
    ]


def prepare(shared: Path) -> None:
    """Run the small project once, and make the store of a copy a large one."""
    few = small_project.write(shared / "few")
    ended = small_project.run(few, "run", "all")
    assert ended.code == 0, ended.stderr
    fill(Store(few / ".madpipe"), FEW_ENTRIES)
    many = shared / "many"
    shutil.copytree(few, many, symlinks=True)
    fill(Store(many / ".madpipe"), ENTRIES, unfinished=UNFINISHED)


def fill(store: Store, entries: int, *, unfinished: int = 0) -> None:
    """Add copies of the entries used last, until there are so many of all stages together.

    Each copy has a seed, and so a key, of its own, and shares its files with what it is a copy of.
    There come to be as many records of runs, all older than the last.
    """
    sources = [entry for stage in small_project.STAGES if (entry := store.newest(stage))]
    there = sum(1 for _ in store.entries())
    for number in range(there, entries):
        copy_entry(store, sources[number % len(sources)], number)
    last = max(store.runs_path.glob("*.json"), default=None)
    for number in range(entries if last else 0):
        assert last is not None
        (store.runs_path / f"20000101T000000.{number:06}Z-1.json").write_bytes(last.read_bytes())
    for number in range(unfinished):
        stage = small_project.STAGES[number % len(small_project.STAGES)]
        (store.home / "work" / stage / f"{number:016x}" / "out").mkdir(parents=True)


def copy_entry(store: Store, source: Entry, number: int) -> None:
    """Leave an old copy of an entry, of perhaps another store, under a key of its own."""
    record = source.record
    document = {**record.key_document, "copy": number}
    key = key_of(document)
    out = store.work_path(record.stage, key) / "out"
    out.mkdir(parents=True)
    for name in record.outputs:
        (out / source.output(name).name).hardlink_to(source.output(name))
    copy = msgspec.structs.replace(
        record, key=key, key_document=document, created_utc="2000-01-01T00:00:00+00:00"
    )
    store.commit(out, copy, is_newest=False)
    out.parent.rmdir()


def play(case: Case, _folder: Path, shared: Path, *, repetitions: int = _REPETITIONS) -> Outcome:
    """Run a command in both projects by turns, and compare the medians."""
    command = COMMANDS[case.number]
    times_s: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(repetitions + 1):
        for name in sorted(times_s, reverse=number % 2 == 1):
            begin_s = time.perf_counter()
            ended = small_project.run(shared / name, *command.words)
            if ended.code:
                return Outcome(fault=f"expected exit code 0, seen {ended.code}: {ended.stderr}")
            if number:  # what the first reads is in memory for all others
                times_s[name].append(time.perf_counter() - begin_s)
    return judge(command, times_s["few"], times_s["many"])


def judge(command: Command, few_s: Sequence[float], many_s: Sequence[float]) -> Outcome:
    """Say whether a command takes longer in the large store than it may."""
    few, many = statistics.median(few_s), statistics.median(many_s)
    ratio = statistics.median(m / f for f, m in zip(few_s, many_s, strict=True))
    faults = []
    if command.reads_all:
        each_s = (many - few) / (ENTRIES - FEW_ENTRIES)
        if each_s >= MOST_EACH_S:
            faults.append(f"expected below {MOST_EACH_S} s an entry, seen {each_s:.4f} s")
    elif ratio >= MOST_RATIO:
        faults.append(f"expected below {MOST_RATIO} of the time, seen {ratio:.3f}")
    if command.most_s is not None and many >= command.most_s:
        faults.append(f"expected below {command.most_s} s, seen {many:.3f} s")
    return Outcome(
        fault="; ".join(faults),
        remark=f"{few:.3f} s and {many:.3f} s",
        figures={"few_s": few, "many_s": many, "ratio": ratio, "n": len(few_s)},
    )


PIECE = Piece(
    name="large-store",
    claim=f"{ENTRIES:,} entries slow no command that looks for one; plan below {MOST_PLAN_S} s",
    cases=cases,
    play=play,
    prepare=prepare,
)
