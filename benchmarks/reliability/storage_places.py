"""Storage that is full, read-only, gone, another's, oddly named or badly timed, and no storage.

A whole run in each of these places ends as it has to, and where it could not end well, the same
command does once the place is as it should be, with the results of a run left alone.

Not tested: network file systems, quotas of a real file system (the shim's EDQUOT stands for them),
names on systems other than Linux.
"""

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability import (
    large_store,
    small_project,
    storage_judge,
    storage_mounts,
    storage_shim,
    storage_writes,
)
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.small_project import STAGES, Ended
from benchmarks.reliability.storage_shim import Fault, Shim, Site
from benchmarks.reliability.storage_writes import HOME
from pipeline import texts
from pipeline.cache.store import Store

_NAME = "storage-places"
_YEAR_S = 365 * 24 * 3600
_ROOM_KIB = 65_536
_RUN = ("run", "all")
_ALL_STORED = len(STAGES)


class Place:
    """A case under way: its folders, its random choices, and what a run left alone leaves."""

    def __init__(self, case: Case, folder: Path, shared: Path) -> None:
        """Take the folders of the case."""
        self.folder = folder
        self.shared = shared
        self.rng = random.Random(case.seed)  # noqa: S311  (it draws faults)
        self.remark = ""

    def start(self, project: Path, stages: int = 0) -> Path:
        """Make a project with so many stages stored."""
        return storage_writes.start(project, self.shared / "whole", stages)

    def shim(self) -> Shim:
        """Return the shim with a log of its own."""
        return Shim(self.shared / "storage_shim.so", self.folder / "calls")

    def wrong_results(self, home: Path) -> str:
        """Return whether a working folder's results are not those of a run left alone."""
        expected = small_project.results(self.shared / "whole" / HOME)
        if small_project.results(home) != expected:
            return "other results than a run left alone has"
        return storage_judge.left_behind(home) or _impossible_time(home)

    def done(self, ended: Ended, project: Path) -> str:
        """Return what is wrong with a run that had to end well."""
        return self.done_in(project / HOME, ended)

    def done_in(self, home: Path, ended: Ended) -> str:
        """Return what is wrong with a run that had to end well, with a working folder."""
        if ended.code or ended.stderr:
            return f"exit code {ended.code}, expected 0: {ended.stderr[-400:]}"
        return self.wrong_results(home)

    def failed_then_done(self, ended: Ended, project: Path) -> str:
        """Return what is wrong with a run that had to fail in a project, and then with the next."""
        wrong = storage_judge.message_fault(ended, project)
        wrong = wrong or storage_judge.store_fault(project / HOME, storage_judge.Kept({}))
        return wrong or self.done(small_project.run(project, *_RUN), project)


def _impossible_time(home: Path) -> str:
    for _, lookup in Store(home).entries():
        if lookup.entry is not None and not 0 <= lookup.entry.record.seconds < _YEAR_S / 2:
            record = lookup.entry.record
            return f"{record.stage} is said to have taken {record.seconds:.0f} s"
    return ""


def full(place: Place) -> str:
    """A disk that becomes full somewhere in the run, and is given room."""
    project = place.folder / "disk"
    kib = int(16 * 1.9 ** place.rng.uniform(0, 7.5))
    with storage_mounts.small_disk(project, kib):
        place.start(project)
        ended = small_project.run(project, *_RUN)
        place.remark = f"{kib} KiB, exit {ended.code}"
        if ended.code == 0:
            return place.done(ended, project)
        before = storage_judge.kept(project / HOME)
        storage_mounts.mount("-o", f"remount,size={_ROOM_KIB}k", str(project))
        wrong = place.failed_then_done(ended, project)
        return wrong or storage_judge.store_fault(project / HOME, before)


def read_only(place: Place) -> str:
    """A disk that cannot be written to, and is made so that it can."""
    project = place.folder / "disk"
    stages = place.rng.randint(0, _ALL_STORED)
    with storage_mounts.small_disk(project, _ROOM_KIB):
        place.start(project, stages)
        storage_mounts.mount("-o", "remount,ro", str(project))
        place.remark = f"{stages} stages stored"
        for words in (("plan",), ("status",), ("cache", "verify") if stages else ("cache", "ls")):
            looked = small_project.run(project, *words)
            if looked.code:
                return f"{' '.join(words)} only reads: exit code {looked.code}: {looked.stderr}"
        ended = small_project.run(project, *_RUN)
        storage_mounts.mount("-o", "remount,rw", str(project))
        return place.failed_then_done(ended, project)


def other_user(place: Place) -> str:
    """A working folder of another user, who lets others read it or does not."""
    stages = place.rng.randint(1, _ALL_STORED - 1)
    mode = place.rng.choice([0o755, 0o700])
    project = place.start(place.folder / "project", stages)
    place.remark = f"{stages} stages stored, mode {mode:o}"
    storage_mounts.open_way(project, place.shared.parent)
    (project / HOME).chmod(mode)
    before = storage_judge.kept(project / HOME)
    ended = storage_mounts.run_as_other(
        project, *_RUN, scratch=place.folder, variables=small_project.environment()
    )
    wrong = storage_judge.store_fault(project / HOME, before)
    return wrong or place.failed_then_done(ended, project)


def own_user(place: Place) -> str:
    """A user without a name, a home or rights, in a folder of theirs."""
    project = place.start(place.folder / "project")
    storage_mounts.open_way(project, place.shared.parent)
    storage_mounts.give(project, storage_mounts.OTHER_USER)
    variables = small_project.environment()
    for name in ("HOME", "USER", "LOGNAME"):
        variables.pop(name, None)
    ended = storage_mounts.run_as_other(project, *_RUN, scratch=place.folder, variables=variables)
    return place.done(ended, project)


def vanishing(place: Place) -> str:
    """A working folder, or a part of it, that is removed while a stage runs."""
    part = place.rng.choice(["", "work", "entries", "work/distill"])
    stage = place.rng.choice(STAGES[:3]) if part != "work/distill" else "distill"
    if part == "entries" and stage == STAGES[0]:  # which has none yet
        stage = STAGES[1]
    project = place.start(place.folder / "project", STAGES.index(stage))
    before = storage_judge.kept(project / HOME)
    place.remark = f"{part or 'all'} of it, while {stage} runs"
    process = small_project.start(project, *_RUN)
    assert process.stdout is not None
    printed = ""
    while f"{stage:<9} start" not in printed:
        line = process.stdout.readline()
        if not line:
            break
        printed += line
    time.sleep(place.rng.random() / 2)
    (project / HOME / part).rename(place.folder / "gone")
    stdout, stderr = process.communicate(timeout=300)
    ended = Ended(process.returncode, printed + stdout, stderr)
    kept = before if part != "entries" and part else storage_judge.Kept({})
    wrong = storage_judge.store_fault(project / HOME, kept)
    place.remark += f", exit {ended.code}"
    if wrong or ended.code == 0:
        return wrong or place.done(small_project.run(project, *_RUN), project)
    shutil.rmtree(place.folder / "gone")
    wrong = storage_judge.message_fault(ended, project)
    return wrong or place.done(small_project.run(project, *_RUN), project)


def clock(place: Place) -> str:
    """A clock that jumps by a year while a stage writes its log, and is set right again."""
    jump_s = place.rng.choice([-1, 1]) * _YEAR_S
    stage = place.rng.choice(STAGES)
    project = place.start(place.folder / "project", STAGES.index(stage))
    site = Site("write", f"{HOME}/work/{stage}/*/events.jsonl", 1)
    fault = Fault(site, place.rng.randint(1, 4), clock_s=jump_s)
    place.remark = f"{jump_s:+} s in {stage}"
    shim = place.shim()
    variables = small_project.environment(**shim.variables(project, fault))
    ended = small_project.run(project, *_RUN, variables=variables)
    if not shim.failed():
        return "the clock was not moved"
    wrong = place.done(ended, project)
    again = small_project.run(project, *_RUN)
    return wrong or (f"exit code {again.code}: {again.stderr}" if again.code else "")


def coarse_times(place: Place) -> str:
    """A disk that keeps times of whole seconds, and files that all have the same."""
    project = place.start(place.folder / "project", place.rng.randint(0, 3))
    variables = small_project.environment(**place.shim().variables(project, is_coarse=True))
    wrong = place.done(small_project.run(project, *_RUN, variables=variables), project)
    for path in project.rglob("*"):
        os.utime(path, (0, 0))
    again = small_project.run(project, *_RUN, variables=variables)
    if not wrong and " ran " in again.stdout:
        wrong = f"stored stages ran again: {again.stdout}"
    return wrong or place.done(again, project)


def odd_name(place: Place) -> str:
    """A folder with a name of 200 letters, with spaces, of other scripts, or of bytes alone."""
    names = ("with spaces", "Ünïcödé 日本語", "a'b\"c;$d", "-dash", os.fsdecode(b"caf\xe9"), "")
    name = place.rng.choice(names)
    folder = place.folder / name
    if not name:
        length = 200 - len(str(place.folder))
        folder = place.folder / "/".join("x" * 49 for _ in range(length // 50 + 1))
    place.remark = ascii(name) if name else f"a path of {len(str(folder))} letters"
    project = place.start(folder, place.rng.randint(0, 3))
    variables, wrong, home = small_project.environment(), "", project / HOME
    if not texts.is_utf8(name):  # libraries open no such path: a working folder there is refused
        refused = small_project.run(project, *_RUN)
        wrong = storage_judge.message_fault(refused, Path(texts.as_utf8(str(project))))
        home = place.folder / "home"
        if (project / HOME).exists():
            (project / HOME).rename(home)
        variables["MADPIPE_HOME"] = str(home)
    ended = small_project.run(project, *_RUN, variables=variables)
    wrong = wrong or place.done_in(home, ended)
    for words in (("report", "--out", f"{name} 1.html"), ("package", "--out", f"./{name} 2.zip")):
        ended = small_project.run(project, *words, variables=variables)
        if not wrong and ended.code:
            wrong = f"{words[0]}: exit code {ended.code}: {ended.stderr[-300:]}"
    return wrong


def no_home(place: Place) -> str:
    """A process without HOME, or with one that is not there."""
    project = place.start(place.folder / "project", place.rng.randint(0, 3))
    variables = small_project.environment()
    variables.pop("HOME", None)
    if place.rng.random() < 0.5:
        variables["HOME"] = "/nonexistent"
    place.remark = f"HOME {variables.get('HOME', 'absent')}"
    return place.done(small_project.run(project, *_RUN, variables=variables), project)


def reader_gone(place: Place) -> str:
    """Standard output whose reader goes away after some lines."""
    project = place.start(place.folder / "project", place.rng.randint(0, 4))
    options = ["--json"] * place.rng.randint(0, 1)
    process = small_project.start(project, *_RUN, *options)
    assert process.stdout is not None
    assert process.stderr is not None
    count = place.rng.randint(0, 3)
    for _ in range(count):
        process.stdout.readline()
    process.stdout.close()
    place.remark = f"after {count} lines"
    stderr = process.stderr.read()
    return place.done(Ended(process.wait(), "", stderr), project)


def full_gc(place: Place) -> str:
    """A disk without any room, on which `cache gc` makes some."""
    project = place.folder / "disk"
    with storage_mounts.small_disk(project, _ROOM_KIB):
        place.start(project, _ALL_STORED)
        store = Store(project / HOME)
        before = storage_judge.kept(store.home)
        for stage in place.rng.sample(STAGES, 2):
            entry = store.newest(stage)
            assert entry is not None
            large_store.copy_entry(store, entry, 0)
        for path in store.home.glob("entries/*/*/*"):  # the copies are links, which free nothing
            if path.stat().st_nlink > 1:
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
        storage_mounts.fill(project / "fill")
        ended = small_project.run(project, "cache", "gc", "--keep", "1")
        place.remark = f"exit {ended.code}, {ended.stdout.strip()}"
        has_room = os.statvfs(project).f_bavail > 0
        if ended.code or not has_room or "removed 2 folders" not in ended.stdout:
            return f"gc made no room: exit code {ended.code}: {ended.stdout} {ended.stderr}"
        wrong = storage_judge.store_fault(store.home, before)
        (project / "fill").unlink()
        return wrong or place.done(small_project.run(project, *_RUN), project)


KINDS: tuple[tuple[Callable[[Place], str], int, bool], ...] = (
    (full, 30, True),
    (read_only, 6, True),
    (other_user, 6, True),
    (own_user, 1, True),
    (vanishing, 16, False),
    (clock, 10, False),
    (coarse_times, 3, False),
    (odd_name, 18, False),
    (no_home, 4, False),
    (reader_gone, 8, False),
)
"""What is done, how often, and whether it needs root."""
LATER_KINDS: tuple[tuple[Callable[[Place], str], int, bool], ...] = ((full_gc, 4, True),)
"""Those that came when others had been played: ledgers go by number, so theirs come last."""


def cases(seed: int) -> list[Case]:
    """Return all cases, the kinds in turns."""
    rounds = range(max(count for _, count, _ in KINDS))
    kinds = [kind for i in rounds for kind, count, _ in KINDS if i < count]
    kinds += [kind for kind, count, _ in LATER_KINDS for _ in range(count)]
    return [
        Case.numbered(number, kind.__name__.replace("_", " "), piece=_NAME, seed=seed)
        for number, kind in enumerate(kinds)
    ]


def prepare(shared: Path) -> None:
    """Compile the shim, and run a project that is left alone."""
    storage_shim.compiled(shared)
    ended = small_project.run(small_project.write(shared / "whole"), *_RUN)
    assert ended.code == 0, ended.stderr


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Run in one place."""
    kind, _, needs_root = next(
        k for k in (*KINDS, *LATER_KINDS) if k[0].__name__.replace("_", " ") == case.what
    )
    if needs_root and (lacking := storage_mounts.why_not()):
        return Outcome(remark=lacking)
    place = Place(case, folder, shared)
    fault = kind(place)
    return Outcome(fault=fault, remark=place.remark)


PIECE = Piece(
    name=_NAME,
    claim="a disk that is full, read-only, gone or another's, odd names, clocks and file times, no "
    "HOME and no reader: nothing lost, and the results of a run left alone",
    cases=cases,
    play=play,
    prepare=prepare,
)
