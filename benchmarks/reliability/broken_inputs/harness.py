"""Makes a piece of the campaign of formats: a broken file of one of them for each case.

A format makes valid files once and, from the seed of each case, one project with a broken input and
the command that reads it. The command is run in a fork of a process that has all imported, one case
of a hundred also by a process of its own, to show that both end alike.
"""

import atexit
import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.reliability import small_project
from benchmarks.reliability.broken_inputs import judging
from benchmarks.reliability.broken_inputs.fork_server import Ended, Layout, Request
from benchmarks.reliability.cases import Case, Outcome, Piece

FRESH_EVERY = 100
"""One case of so many is also run by a process of its own."""
_ROOT = Path(__file__).parents[3]
_FOREIGN = {"notes.txt": "not madpipe's", "deep/secret.bin": "nor this"}


class Broken(NamedTuple):
    """A project with a broken input that is ready for its command."""

    what: str
    """What was broken, in words."""
    arguments: list[str]
    """Of madpipe, which runs in the project's folder."""
    targets: tuple[str, ...] = ()
    """Files and folders, relative to the project, that the command is told to write."""


class Format(NamedTuple):
    """A kind of input."""

    name: str
    prepare: Callable[[Path], None]
    """Makes valid files in a folder that all cases of the format share."""
    break_one: Callable[[random.Random, Path, Path], Broken]
    """Writes a project with a broken input into an empty folder; the shared folder comes last.

    Beside the project's folder lies `foreign` with the files of somebody else, which nothing may
    read or write. Code that an input brings holds `actions.CANARY` in a name or a text.
    """


class Share(NamedTuple):
    """So many of a piece's cases."""

    format: Format
    cases: int


def piece(name: str, claim: str, shares: Sequence[Share]) -> Piece:
    """Return the piece that plays so many cases of each format, mixed evenly."""
    formats = {share.format.name: share.format for share in shares}

    def cases(seed: int) -> list[Case]:
        places = sorted(
            ((index + 0.5) / share.cases, order, share.format.name)
            for order, share in enumerate(shares)
            for index in range(share.cases)
        )
        return [
            Case.numbered(number, what, piece=name, seed=seed)
            for number, (_, _, what) in enumerate(places)
        ]

    def prepare(shared: Path) -> None:
        for known in formats.values():
            folder = shared / known.name
            folder.mkdir()
            known.prepare(folder)

    def play(case: Case, folder: Path, shared: Path) -> Outcome:
        return _play(formats[case.what], case, folder, shared / case.what)

    return Piece(name=name, claim=claim, cases=cases, play=play, prepare=prepare)


def _play(known: Format, case: Case, folder: Path, shared: Path) -> Outcome:
    """Play a case in a fork, and now and then in a process of its own, too."""
    broken, ended, fault = _run(known, case, folder / "fork", shared, is_fresh=False)
    if not fault and case.number % FRESH_EVERY == 0:
        _, fresh, fault = _run(known, case, folder / "fresh", shared, is_fresh=True)
        if not fault and fresh.code != ended.code:
            fault = f"a process of its own ended with {fresh.code}, the fork with {ended.code}"
    figures = {"exit_code": float(ended.code), "peak_mib": round(ended.peak_bytes / 1024**2)}
    remark = judging.printable(f"{broken.arguments[0]}: {broken.what}", 160)
    return Outcome(fault=fault, remark=remark, figures=figures)


def _run(
    known: Format, case: Case, folder: Path, shared: Path, *, is_fresh: bool
) -> tuple[Broken, Ended, str]:
    """Write a case's project, run its command, and judge how it ended."""
    layout = Layout(folder)
    for path in (layout.project, layout.home, layout.temporary, layout.foreign / "deep"):
        path.mkdir(parents=True)
    for name, text in _FOREIGN.items():
        (layout.foreign / name).write_text(text, encoding="utf-8")
    broken = known.break_one(random.Random(case.seed), layout.project, shared)  # noqa: S311
    before = judging.look(layout)
    ended = server().run(
        Request(
            arguments=broken.arguments,
            folder=str(folder),
            targets=list(broken.targets),
            is_fresh=is_fresh,
        )
    )
    fault = judging.fault(broken.arguments, ended, layout)
    fault = fault or judging.changed(broken.arguments, broken.targets, before, layout)
    return broken, ended, f"in a process of its own: {fault}" if fault and is_fresh else fault


class ForkServer:
    """The process that forks commands, as the campaign sees it."""

    def __init__(self) -> None:
        """Start it; it imports for some seconds before it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.broken_inputs.fork_server"],
            cwd=_ROOT,
            env=small_project.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, request: Request) -> Ended:
        """Run a command to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(msgspec.to_builtins(request)) + "\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return msgspec.json.decode(answer, type=Ended)
        server.cache_clear()  # the next case gets another one
        message = f"the process that forks ended with {self._process.wait()}"
        raise RuntimeError(message)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@cache
def server() -> ForkServer:
    """Return the process that forks, started when it is asked for first."""
    started = ForkServer()
    atexit.register(started.close)
    return started
