"""Files of the working folder broken: entries, pointers, memos, records of runs, the lock."""

import fcntl
import json
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability.broken_inputs import hostile, json_files, stored
from benchmarks.reliability.broken_inputs.harness import Broken, Format
from benchmarks.reliability.broken_inputs.stored import choose

_STAGES = ("teacher", "distill", "export", "build", "validate")
_READ = (
    *(["status"], ["status", "--json"], ["plan"], ["plan", "--json"], ["why", "validate"]),
    *(["gate"], ["report", "--format", "json"], ["report", "--format", "markdown"]),
    *(["cache", "ls"], ["cache", "ls", "--json"], ["cache", "verify"], ["run", "all"]),
    *(["compare", stored.BASELINE, "."], ["cache", "gc"], ["cache", "push", "pushed"]),
    *(["baseline", "kept"], ["package", "--out", "packed"], ["report", "--out", "page.html"]),
)
_TARGETS = ("pushed", "kept", "packed", "page.html", "report.html")
_RETRAINED = ("--set", "distill.rounds=0")
"""A setting that is refused, so that `run` reads what is stored and trains nothing."""


class _Memo(NamedTuple):
    """A file that only saves time or holds what was, and what reads it."""

    file: str
    commands: tuple[list[str], ...]


_MEMOS = {
    "digests.json": (["plan"], ["run", "all"], ["why", "export"]),
    "rates.json": (["plan", "--set", "teacher.epochs=3"], ["plan", "--json", "--set", "seed=1"]),
    "layout.json": (["plan"], ["status"], ["run", "all"], ["cache", "gc"], ["cache", "verify"]),
}
_RUN_READERS = (
    *(["report", "--format", "json"], ["report", "--format", "markdown", "--out", "-"]),
    *(["report", "--format", "junit", "--out", "-"], ["report", "--out", "page.html"]),
    *(["gate"], ["compare", "2", "."], ["baseline", "kept"], ["package", "--out", "packed"]),
    *(["report", "--format", "gitlab-metrics", "--out", "-"], ["status"], ["run", "all"]),
    *(["report", "--format", "bencher", "--out", "-"],),
)


def _break_entry(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break the record of an entry; mostly its own digest is right again."""
    home = stored.copy(folder, shared)
    stage = rng.choice(_STAGES)
    path = stored.entry_of(home, stage) / "entry.json"
    content = path.read_bytes()
    if rng.random() < 0.3:
        what, content = json_files.broken(rng, content)
    else:
        what, record = json_files.changed(rng, json.loads(content))
        content = stored.signed(record) if isinstance(record, dict) else json_files.encoded(record)
        what = f"{what}, signed"
    stored.replace(path, content)
    commands = [words for words in _READ if words != ["run", "all"]]
    return Broken(f"entry of {stage}: {what}", choose(rng, *commands), _TARGETS)


def _break_memo(rng: random.Random, folder: Path, shared: Path) -> Broken:
    home = stored.copy(folder, shared)
    name = rng.choice([*_MEMOS])
    path = home / name
    what, content = json_files.broken(rng, path.read_bytes())
    stored.replace(path, content)
    return Broken(f"{name}: {what}", choose(rng, *_MEMOS[name]))


def _break_run(rng: random.Random, folder: Path, shared: Path) -> Broken:
    home = stored.copy(folder, shared)
    path = max(home.glob("runs/*.json"))
    what, content = json_files.broken(rng, path.read_bytes())
    if rng.random() < 0.1:
        path = path.with_name(rng.choice(["z.json", "2\udcff.json", "z\n.json", "2.json"]))
        what = f"{what} in {path.name!r}"
    stored.replace(path, content)
    return Broken(f"record of a run: {what}", choose(rng, *_RUN_READERS), _TARGETS)


def _break_pointer(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break what is beside entries and records: pointers, names, kinds of file."""
    home = stored.copy(folder, shared)
    stage = rng.choice(_STAGES)
    pointer = home / "entries" / stage / "newest"
    entry = stored.entry_of(home, stage)
    what = rng.choice([*_STRANGE])
    _STRANGE[what](rng, pointer, entry, folder)
    return Broken(f"{stage}: {what}", choose(rng, *_READ[:-4]), _TARGETS)


def _point(rng: random.Random, pointer: Path, entry: Path, _folder: Path) -> None:
    texts = [*hostile.TEXTS, entry.name + "\n", "../validate/x", "entry.json", "newest", "\0", "/"]
    pointer.write_bytes(rng.choice([rng.choice(texts).encode(), rng.randbytes(50), b"x" * 10**6]))


def _folder_for_file(rng: random.Random, pointer: Path, entry: Path, _folder: Path) -> None:
    home = pointer.parents[2]
    path = rng.choice([pointer, entry / "entry.json", home / "digests.json", home / "rates.json"])
    path.unlink()
    path.mkdir()


def _file_for_folder(rng: random.Random, pointer: Path, _entry: Path, folder: Path) -> None:
    home = pointer.parents[2]
    path = rng.choice([home / "runs", home / "entries", home / "work", home / "track", home])
    if path.exists():
        path.rename(folder / "moved")
    path.write_bytes(b"x")


def _link(rng: random.Random, pointer: Path, entry: Path, folder: Path) -> None:
    path = rng.choice([entry / "entry.json", pointer, entry / "events.jsonl"])
    path.unlink()
    targets = [folder / "pipeline.toml", Path("nowhere"), path, folder / "none", Path("/dev/zero")]
    path.symlink_to(rng.choice(targets))


def _strangers(rng: random.Random, pointer: Path, entry: Path, _folder: Path) -> None:
    for name in ("x", "\udcff", "a b\n", "-rf", ".hidden"):
        place = rng.choice([pointer.parent, entry, pointer.parents[2], pointer.parents[1]])
        path = place / name
        if rng.random() < 0.5:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            path.write_bytes(rng.randbytes(5))


def _fifo(rng: random.Random, pointer: Path, entry: Path, _folder: Path) -> None:
    path = rng.choice([entry / "entry.json", pointer, pointer.parents[2] / "digests.json"])
    path.unlink()
    os.mkfifo(path)


def _output_gone(rng: random.Random, _pointer: Path, entry: Path, _folder: Path) -> None:
    path = rng.choice([path for path in entry.iterdir() if path.name != "entry.json"])
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()


_STRANGE: dict[str, Any] = {
    "another pointer": _point,
    "a folder for a file": _folder_for_file,
    "a file for a folder": _file_for_folder,
    "a link": _link,
    "strangers": _strangers,
    "a pipe for a file": _fifo,
    "an output gone": _output_gone,
}
_held: list[int] = []
"""The lock of the case before, which lasts until the next one."""


def _break_lock(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Hold the lock of the working folder, beside a broken record of who holds it."""
    while _held:
        os.close(_held.pop())
    home = stored.copy(folder, shared)
    _held.append(os.open(home / "lock", os.O_RDWR | os.O_CREAT))
    fcntl.flock(_held[0], fcntl.LOCK_EX)
    record = json.dumps({"pid": 1, "host": "h", "command": "c"}).encode()
    what, content = json_files.broken(rng, record)
    (home / "lock.json").write_bytes(content)
    commands = (["cache", "gc"], ["cache", "pull", "."], ["cache", "push", "."])
    wait = ["run", "distill", "--force", "distill", "--set", "run.lock_wait_s=0"]
    return Broken(f"lock.json: {what}", choose(rng, *commands, wait))


def _break_events(rng: random.Random, folder: Path, shared: Path) -> Broken:
    """Break the events of an unfinished stage, of which a run goes on."""
    home = stored.copy(folder, shared)
    entry = stored.entry_of(home, "build")
    content = (entry / "events.jsonl").read_bytes()
    work = home / "work" / "build" / entry.name
    work.mkdir(parents=True)
    entry.rename(folder / "moved")
    lines = content.splitlines() or [b"{}"]
    index = rng.randrange(len(lines))
    what, lines[index] = json_files.broken(rng, lines[index])
    (work / "events.jsonl").write_bytes(b"\n".join(lines))
    return Broken(f"events of a stage: {what}", ["run", "build"], ("moved",))


ENTRIES = Format("entries", stored.prepare, _break_entry)
MEMOS = Format("memos", stored.prepare, _break_memo)
RUNS = Format("run-records", stored.prepare, _break_run)
POINTERS = Format("working-folder", stored.prepare, _break_pointer)
LOCK = Format("lock", stored.prepare, _break_lock)
EVENTS = Format("events", stored.prepare, _break_events)
