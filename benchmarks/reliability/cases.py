"""A case, what became of it, and the ledger that keeps both so that a campaign resumes.

A piece of the campaign is a list of cases and a function that plays one. All that a case does
follows from its seed, so that one line of a ledger is enough to play it again.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline import machine

_CASE = "CASE"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that is made on purpose."""

    number: int
    seed: int
    """Of all its random choices."""
    what: str
    """What is done, in a few words."""

    @classmethod
    def numbered(cls, number: int, what: str, *, piece: str, seed: int) -> "Case":
        """Return a case whose seed follows from the campaign's, its piece and its number."""
        digest = hashlib.sha256(f"{seed} {piece} {number}".encode()).digest()
        return cls(number=number, seed=int.from_bytes(digest[:6]), what=what)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a case."""

    fault: str = ""
    """What went wrong, empty where the case was survived."""
    remark: str = ""
    """What is worth knowing, such as where a kill hit."""
    figures: dict[str, float] = {}
    """What was measured, units in the names."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One played case in a ledger."""

    number: int
    seed: int
    what: str
    seconds: float
    fault: str = ""
    remark: str = ""
    figures: dict[str, float | None] = {}
    """None: no number, for which JSON has no other word."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with which versions the lines after it were played."""

    piece: str
    campaign_seed: int
    environment: dict[str, str]


class Piece(NamedTuple):
    """One part of the campaign."""

    name: str
    claim: str
    """What is shown when all its cases are survived, as a table says it."""
    cases: Callable[[int], Sequence[Case]]
    """The whole list of cases for a campaign's seed."""
    play: Callable[[Case, Path, Path], Outcome]
    """Plays a case in an empty folder; the second folder is shared by all cases of the piece."""
    prepare: Callable[[Path], None] = lambda _shared: None
    """Fills the shared folder, once for each start of the program."""


class Ledger:
    """The played cases of a piece: one line of JSON each, behind a line about the machine."""

    def __init__(self, path: Path) -> None:
        """Name the file; a line that a kill cut short is left out when it is read."""
        self.path = path

    def lines(self) -> list[Line]:
        """Return what has been played, the newest of each number, by number."""
        newest = {}
        for record in self._records():
            if "number" in record:
                line = msgspec.convert(record, Line)
                newest[line.number] = line
        return [newest[number] for number in sorted(newest)]

    def sessions(self) -> list[Session]:
        """Return on which machines and with which versions cases were played."""
        return [msgspec.convert(r, Session) for r in self._records() if "piece" in r]

    def begin(self, piece: str, campaign_seed: int, root: Path) -> None:
        """Note where the lines that follow come from."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and not self.path.read_bytes().endswith(b"\n"):
            self._append_bytes(b"\n")
        environment = machine.environment(root)
        self._append(Session(piece=piece, campaign_seed=campaign_seed, environment=environment))

    def add(self, case: Case, outcome: Outcome, seconds: float) -> None:
        """Append a played case."""
        line = Line(
            number=case.number,
            seed=case.seed,
            what=case.what,
            seconds=round(seconds, 3),
            fault=outcome.fault,
            remark=outcome.remark,
            figures=dict(outcome.figures),
        )
        self._append(line)

    def _records(self) -> Iterator[dict[str, object]]:
        for line in self.path.read_bytes().splitlines() if self.path.is_file() else []:
            try:
                yield msgspec.json.decode(line, type=dict[str, object])
            except msgspec.DecodeError:
                continue

    def _append(self, record: Line | Session) -> None:
        self._append_bytes(msgspec.json.encode(record) + b"\n")

    def _append_bytes(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)


def timed_play(piece: Piece, case: Case, folder: Path, shared: Path) -> tuple[Outcome, float]:
    """Play one case; what it raises is its fault, and its folder is called CASE in texts.

    Returns:
        What became of it, and its wall seconds.
    """
    begin_s = time.perf_counter()
    try:
        outcome = piece.play(case, folder, shared)
    except Exception as error:  # noqa: BLE001  (a campaign goes on behind a case that broke)
        outcome = Outcome(fault=f"the case itself broke: {type(error).__name__}: {error}")
    seconds = time.perf_counter() - begin_s
    fault, remark = (text.replace(str(folder), _CASE) for text in (outcome.fault, outcome.remark))
    return msgspec.structs.replace(outcome, fault=fault, remark=remark), seconds
