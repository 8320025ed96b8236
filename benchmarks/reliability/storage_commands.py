"""Every place at which the commands beside `run all` change files fails once.

As `storage_writes` does with a whole run: each command is noted once, left alone, on a project in
which everything is stored; then one of its calls fails in each case. What was there before has to
be there still, what is new has to be whole or absent, and the same command has to end well then.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.reliability import small_project, storage_judge, storage_shim, storage_writes
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.small_project import STAGES, Ended
from benchmarks.reliability.storage_judge import Kept
from benchmarks.reliability.storage_shim import Shim, Site
from benchmarks.reliability.storage_writes import HOME

_NAME = "storage-commands"
_SUPERFLUOUS = "f" * 16
"""An entry that `cache gc` removes."""
_THERE = "there"
_FAILED_ROW = re.compile(r"^\[\d+/\d+\] failed: (.+)$", re.MULTILINE)


class Command(NamedTuple):
    """A command that writes, and what it leaves."""

    words: tuple[str, ...]
    leaves: tuple[str, ...]
    """Files below the project, as patterns."""
    places: int
    """At least as many as at which it changes files, so that each fails once."""
    before: Callable[[Path], None] = lambda _project: None
    """What is done to the project first."""


def _old_package(project: Path) -> None:
    """Leave a package of another engine in the way."""
    for name in ("manifest.json", "labels.txt", "old"):
        (project / "p").mkdir(exist_ok=True)
        (project / "p" / name).write_text("old", encoding="utf-8")


def _superfluous_entry(project: Path) -> None:
    stored = next(
        path for path in (project / HOME / "entries" / "teacher").iterdir() if path.is_dir()
    )
    shutil.copytree(stored, stored.with_name(_SUPERFLUOUS))


def _store_elsewhere(project: Path) -> None:
    (project / HOME).rename(project / _THERE)


def _loose(stage: str, name: str) -> Callable[[Path], None]:
    """Return what copies an output of a stage into the project."""

    def copy(project: Path) -> None:
        shutil.copyfile(
            next((project / HOME / "entries" / stage).glob(f"*/{name}")), project / name
        )

    return copy


def _old_text(name: str) -> Callable[[Path], None]:
    def write(project: Path) -> None:
        (project / name).write_text("old", encoding="utf-8")

    return write


_ENTRY = "entries/*/*/entry.json"
COMMANDS = (
    Command(("init", "--config", "new.toml"), ("new.toml",), 4),
    Command(
        ("init", "--config", "new.toml", "--overwrite"), ("new.toml",), 4, _old_text("new.toml")
    ),
    Command(("report",), (f"{HOME}/report.html",), 4),
    Command(("report", "--out", "page.html"), ("page.html",), 4, _old_text("page.html")),
    Command(("baseline", "kept"), ("kept/*.json",), 13),
    Command(("package", "--out", "p"), ("p/*",), 39),
    Command(("package", "--out", "p", "--overwrite"), ("p/*",), 44, _old_package),
    Command(("package", "--out", "p.zip"), ("p.zip",), 5),
    Command(("cache", "push", _THERE), (f"{_THERE}/{_ENTRY}",), 164),
    Command(("cache", "push", "file://{project}/there"), (f"{_THERE}/v1/entries/*/*.json",), 160),
    Command(("cache", "pull", _THERE), (f"{HOME}/{_ENTRY}",), 164, _store_elsewhere),
    Command(("cache", "gc", "--keep", "1"), (), 9, _superfluous_entry),
    Command(("run", "build", "--force", "build"), (f"{HOME}/entries/build/*/engine.onnx",), 73),
    Command(
        ("export", "--student", "student.safetensors", "--out", "x.onnx"),
        ("x.onnx",),
        8,
        _loose("distill", "student.safetensors"),
    ),
    Command(
        ("build", "--onnx", "student.onnx", "--out", "engine"),
        ("engine/engine.onnx", "engine/manifest.json"),
        24,
        _loose("export", "student.onnx"),
    ),
    Command(
        ("sweep", "distill.rounds=5,6", "--to", "distill"),
        (f"{HOME}/sweep.html", f"{HOME}/sweep.json", f"{HOME}/entries/distill/*/entry.json"),
        105,
    ),
    Command(
        ("sweep", "distill.rounds=5,7", "--to", "distill", "--jobs", "2", "--out", "s.html"),
        ("s.html", "s.json", f"{HOME}/entries/distill/*/entry.json"),
        299,
    ),
)


LATER_PLACES = (("cache gc --keep 1", 9),)
"""Of which command and which of its places; they came when others had been played. Ledgers go by
number, so these come last, and only at the end of this list do more."""


class Leaves(NamedTuple):
    """What a command that is left alone leaves: each file, its digest where that is always one."""

    digests: dict[str, str]


class Noted(NamedTuple):
    """What a command does that is left alone."""

    sites: list[Site]
    leaves: Leaves


def start(folder: Path, whole: Path, command: Command) -> Path:
    """Make a project in which everything is stored, and as the command wants it."""
    project = folder / "project"
    shutil.copytree(whole, project, symlinks=True)
    command.before(project)
    return project


def words_of(command: Command, project: Path) -> list[str]:
    """Return the words of a command line for a project."""
    return [word.format(project=project) for word in command.words]


def left(project: Path, command: Command) -> Leaves:
    """Return what lies where the command writes."""
    paths = [path for pattern in command.leaves for path in project.glob(pattern) if path.is_file()]
    names = ((str(path.relative_to(project)), path.read_bytes()) for path in sorted(paths))
    return Leaves({name: hashlib.sha256(content).hexdigest() for name, content in names})


def prepare(shared: Path) -> None:
    """Compile the shim, and run everything once."""
    storage_shim.compiled(shared)
    ended = small_project.run(small_project.write(shared / "whole"), "run", "all")
    assert ended.code == 0, ended.stderr


def noted(command: Command, shared: Path) -> Noted:
    """Return what a command does that is left alone; found out when it is first asked for.

    It is run twice, to see which bytes are always the same.
    """
    kept = shared / f"noted-{COMMANDS.index(command)}.json"
    if kept.is_file():
        return msgspec.json.decode(kept.read_bytes(), type=Noted)
    outcomes, sites = list[dict[str, str]](), list[Site]()
    for attempt in ("first", "second"):
        folder = shared / attempt
        project = start(folder, shared / "whole", command)
        shim = Shim(shared / "storage_shim.so", folder / "calls")
        variables = small_project.environment(**shim.variables(project))
        ended = small_project.run(project, *words_of(command, project), variables=variables)
        assert ended.code == 0, f"{command.words}: {ended.stderr}"
        outcomes.append(left(project, command).digests)
        sites = storage_shim.sites(shim.seen())
        shutil.rmtree(folder)
    first, second = outcomes
    assert first.keys() == second.keys(), f"{command.words}: {first.keys() ^ second.keys()}"
    assert sites, f"{command.words}: it changes nothing"
    assert first or not command.leaves, command.words
    places = command.places + sum(text == " ".join(command.words) for text, _ in LATER_PLACES)
    assert len(sites) <= places, f"{command.words}: {len(sites)} places"
    leaves = Leaves({name: d if second[name] == d else "" for name, d in first.items()})
    result = Noted(sites, leaves)
    kept.write_bytes(msgspec.json.encode(result))
    return result


def cases(seed: int) -> list[Case]:
    """Return a case for each place of each command."""
    first = [(" ".join(c.words), place) for c in COMMANDS for place in range(c.places)]
    return [
        Case.numbered(number, f"{text}: {place}", piece=_NAME, seed=seed)
        for number, (text, place) in enumerate((*first, *LATER_PLACES))
    ]


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Let one call of one command fail, then repeat the command."""
    words_text, _, index = case.what.rpartition(": ")
    command = next(c for c in COMMANDS if " ".join(c.words) == words_text)
    sites, whole = noted(command, shared)
    fault = storage_writes.drawn(sites[int(index) % len(sites)], case.seed)
    project = start(folder, shared / "whole", command)
    before, files_before = _kept(project, command), left(project, command)
    shim = Shim(shared / "storage_shim.so", folder / "calls")
    variables = small_project.environment(**shim.variables(project, fault))
    words = words_of(command, project)
    ended = small_project.run(project, *words, variables=variables)
    failed = [project / path for path in shim.failed()]
    remark = f"{fault}; exit {ended.code}"
    if not failed:
        return Outcome(fault=f"the fault was not met: {ended.stderr}", remark=remark)
    wrong = storage_judge.store_fault(project / HOME, before, given_up=_SUPERFLUOUS)
    wrong = wrong or files_fault(left(project, command), files_before, whole)
    if not wrong and ended.code:
        faults = [storage_judge.message_fault(e, project, failed) for e in _messages(ended, words)]
        wrong = next(filter(None, faults), "")
        again = small_project.run(project, *words)
        if not wrong and again.code:
            wrong = f"then exit code {again.code}: {again.stderr[-400:]}"
    return Outcome(fault=wrong or missing(left(project, command), whole), remark=remark)


def _messages(ended: Ended, words: Sequence[str]) -> list[Ended]:
    """Return how a command ended, with one error each: of a sweep these are rows of its table."""
    rows = [*dict.fromkeys(_FAILED_ROW.findall(ended.stdout))] if words[0] == "sweep" else []
    return [ended._replace(stderr=f"{row}\n") for row in rows] or [ended]


def files_fault(now: Leaves, before: Leaves, whole: Leaves) -> str:
    """Return which file is lost or half there: neither what it was nor what it was to be."""
    for name in before.digests.keys() & whole.digests.keys():
        if name not in now.digests:
            return f"{name} was there before and is lost"
    for name, digest in now.digests.items():
        expected = whole.digests.get(name, digest)
        if expected and digest not in {expected, before.digests.get(name)}:
            return f"{name} is neither what it was nor what it was to be"
    return ""


def missing(now: Leaves, whole: Leaves) -> str:
    """Return what a command that ended well did not leave."""
    for name, digest in whole.digests.items():
        if name not in now.digests:
            return f"exit code 0 without {name}"
        if digest and now.digests[name] != digest:
            return f"exit code 0, and {name} is another than a command left alone leaves"
    return ""


def _kept(project: Path, command: Command) -> Kept:
    """Return what a command has to leave as it is."""
    given_up = (_SUPERFLUOUS, *(f"entries/{stage}/" for stage in command.words if stage in STAGES))
    files = storage_judge.kept(project / HOME).files
    return Kept({n: d for n, d in files.items() if not any(part in n for part in given_up)})


PIECE = Piece(
    name=_NAME,
    claim="every place at which other commands change files fails once: what was there stays, what "
    "is new is whole or absent, and the same command then ends well",
    cases=cases,
    play=play,
    prepare=prepare,
)
