"""The piece of several processes: one working folder, one lock, kills, other machines.

Whether two write at once is seen from outside (`observer`), whoever has the lock. Another machine
is a process that has another host name and boot of the kernel, in namespaces of its own; file
systems without locks, and locks that do not reach another machine, are made by strace, which lets
`flock` fail or succeed without doing anything.

Not tested: two real machines on a real NFS, SMB or Lustre, whose caches delay what is seen;
Windows, whose locks are others; machines with one name, on file systems whose locks do not reach.
"""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from benchmarks.reliability import small_project
from benchmarks.reliability.cases import Case, Outcome, Piece
from benchmarks.reliability.processes import beside, machines, together
from benchmarks.reliability.processes.crowd import LONGEST_S
from benchmarks.reliability.processes.together import VARIANTS, Alone

_NAME = "processes"
_PLAYS: dict[str, tuple[int, Callable[[Path, Alone, Random], str]]] = {
    "two, one killed": (8, together.two),
    "ten, five killed": (5, together.ten),
    "two of different settings, one killed": (4, together.two_settings),
    "ten of different settings, three killed": (4, together.ten_settings),
    "five that do not wait": (4, together.impatient),
    "the holder is stopped": (2, together.stopped),
    "other commands beside a run": (4, beside.commands),
    "three projects push to one folder, one killed": (3, beside.pushes_to_folder),
    "three projects push to one file URL, one killed": (3, beside.pushes_to_url),
    "no locks: not implemented": (1, machines.not_implemented),
    "no locks: none available": (1, machines.none_available),
    "no locks: not supported": (1, machines.not_supported),
    "the lock is another machine's": (1, machines.held),
    "the lock was a dead machine's": (1, machines.dead),
    "the lock does not reach another machine": (1, machines.unreached),
}
_ALONE = "alone.json"


def cases(seed: int) -> list[Case]:
    """Return every kind so often as the table says, in turns."""
    kinds = [
        kind
        for turn in range(max(count for count, _ in _PLAYS.values()))
        for kind, (count, _) in _PLAYS.items()
        if turn < count
    ]
    return [Case.numbered(n, kind, piece=_NAME, seed=seed) for n, kind in enumerate(kinds)]


def prepare(shared: Path) -> None:
    """Run each variant of the settings alone.

    Raises:
        AssertionError: One failed.
    """
    project = small_project.write(shared / "alone")
    results, begin_s, longest_s = {}, time.monotonic(), 0.0
    for variant, options in VARIANTS.items():
        ended = small_project.run(project, "run", "all", *options, limit_s=LONGEST_S)
        assert not ended.code, ended.stderr
        longest_s = longest_s or time.monotonic() - begin_s
        results[variant] = small_project.results(project / together.HOME)
    (shared / _ALONE).write_bytes(msgspec.json.encode(Alone(seconds=longest_s, results=results)))


def play(case: Case, folder: Path, shared: Path) -> Outcome:
    """Play a case of a kind."""
    alone = Alone(seconds=10.0, results={})
    if (shared / _ALONE).is_file():
        alone = msgspec.json.decode((shared / _ALONE).read_bytes(), type=Alone)
    _, played = _PLAYS[case.what]
    return Outcome(fault=played(folder, alone, Random(case.seed)))  # noqa: S311  (not for secrets)


PIECE = Piece(
    name=_NAME,
    claim="of two and ten processes on one working folder one writes at a time; a dead one's lock "
    "is taken over, a live one's never; who is not killed ends with the results of a run alone",
    cases=cases,
    play=play,
    prepare=prepare,
)
