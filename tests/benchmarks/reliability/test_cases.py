"""The frame of the campaign: ledgers that a kill cut short, cases that are played once, figures."""

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.reliability import __main__ as campaign
from benchmarks.reliability import figures, pieces
from benchmarks.reliability.cases import Case, Ledger, Outcome, Piece, timed_play

BAD = 2


class Toys:
    """A piece of five cases, of which one is never survived, and what was played of it."""

    def __init__(self) -> None:
        self.played: list[tuple[int, int]] = []
        self.prepared = 0
        self.piece = Piece("toys", "toys last", self.cases, self.play, self.prepare)

    def cases(self, seed: int) -> Sequence[Case]:
        return [Case.numbered(n, f"toy {n}", piece="toys", seed=seed) for n in range(5)]

    def play(self, case: Case, folder: Path, shared: Path) -> Outcome:
        assert list(folder.iterdir()) == []
        assert (shared / "prepared").is_file()
        self.played.append((case.number, case.seed))
        if case.number == BAD:
            raise RuntimeError("broken")
        return Outcome(remark="well", figures={"pieces": 3.0})

    def prepare(self, shared: Path) -> None:
        self.prepared += 1
        (shared / "prepared").touch()

    def numbers(self) -> list[int]:
        return [number for number, _ in self.played]


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "out" / "toys.jsonl")


def test_a_seed_follows_from_campaign_piece_and_number() -> None:
    seeds = {
        Case.numbered(number, "x", piece=piece, seed=seed).seed
        for number in (0, 1)
        for piece in ("one", "two")
        for seed in (0, 1)
    }
    assert len(seeds) == 8
    again = Case.numbered(1, "other words", piece="one", seed=0)
    assert again.seed == Case.numbered(1, "x", piece="one", seed=0).seed


def test_a_played_case_is_not_played_again(toys: Toys, ledger: Ledger) -> None:
    cases = toys.cases(0)
    assert campaign.play(toys.piece, cases[:2], ledger, 0) == 0
    assert campaign.play(toys.piece, cases, ledger, 0) == 1
    assert toys.numbers() == [0, 1, 2, 3, 4]
    assert campaign.play(toys.piece, cases, ledger, 0) == 0
    assert (toys.numbers(), toys.prepared) == ([0, 1, 2, 3, 4], 2)
    assert len(ledger.sessions()) == 2


def test_what_was_not_survived_is_played_again_where_that_is_asked_for(
    toys: Toys, ledger: Ledger
) -> None:
    cases = toys.cases(0)
    campaign.play(toys.piece, cases, ledger, 0)
    toys.played.clear()
    campaign.play(toys.piece, cases, ledger, 0)
    assert toys.numbers() == []
    campaign.play(toys.piece, cases, ledger, 0, again=True)
    assert toys.numbers() == [BAD]


def test_a_case_that_breaks_is_a_fault_and_no_end_of_the_campaign(
    toys: Toys, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign.play(toys.piece, toys.cases(0), ledger, 0)
    faults = [line.fault for line in ledger.lines()]
    assert faults == ["", "", "the case itself broke: RuntimeError: broken", "", ""]
    assert capsys.readouterr().out == f"toys 2 (toy 2): {faults[2]}\n"


@pytest.mark.parametrize("cut_bytes", [1, 20, 60])
def test_a_ledger_cut_short_by_a_kill_is_read_and_gone_on_with(
    toys: Toys, ledger: Ledger, cut_bytes: int
) -> None:
    cases = toys.cases(0)
    campaign.play(toys.piece, cases[:2], ledger, 0)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-cut_bytes])
    left = [0, 1] if cut_bytes == 1 else [0]  # all but the end of its line is there
    assert [line.number for line in ledger.lines()] == left
    campaign.play(toys.piece, cases[:2], ledger, 0)
    assert [line.number for line in ledger.lines()] == [0, 1]
    assert toys.numbers() == ([0, 1] if cut_bytes == 1 else [0, 1, 1])
    assert toys.played[-1] == (1, cases[1].seed)


def test_a_figure_that_is_no_number_keeps_no_ledger_from_being_read(ledger: Ledger) -> None:
    case = Case.numbered(0, "toy", piece="toy", seed=0)
    ledger.begin("toy", 0, Path())
    ledger.add(case, Outcome(figures={"slope": math.nan, "rise": 1.0}), 1.0)
    assert [line.figures for line in ledger.lines()] == [{"slope": None, "rise": 1.0}]


def test_of_a_case_that_was_played_twice_the_last_line_counts(ledger: Ledger) -> None:
    case = Case.numbered(3, "x", piece="toys", seed=0)
    ledger.begin("toys", 0, Path())
    ledger.add(case, Outcome(fault="seen: a hole"), 1.0)
    ledger.add(case, Outcome(), 2.0)
    (line,) = ledger.lines()
    assert (line.number, line.seed, line.seconds, line.fault) == (3, case.seed, 2.0, "")


def test_what_a_case_raises_is_its_fault_with_its_time(toys: Toys, tmp_path: Path) -> None:
    def raising(_case: Case, _folder: Path, _shared: Path) -> Outcome:
        raise OSError(28, "No space left on device")

    piece = toys.piece._replace(play=raising)
    outcome, seconds = timed_play(piece, toys.cases(0)[0], tmp_path, tmp_path)
    assert outcome.fault == ("the case itself broke: OSError: [Errno 28] No space left on device")
    assert seconds >= 0


@pytest.fixture
def command(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the campaign's command line on the toys."""
    monkeypatch.setattr(pieces, "load", lambda _names: [toys.piece])
    monkeypatch.setattr(pieces, "NAMES", ("toys",))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # for the folder that stays

    def call(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["reliability", *words, "--out", str(tmp_path / "out")])
        campaign.main()

    return call


def test_one_case_alone_is_the_same_case_and_leaves_no_line(
    toys: Toys,
    ledger: Ledger,
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (("--only", "3"), ("--cases", "2"), ("--only", "3")):
        with pytest.raises(SystemExit) as caught:
            command("toys", *words)
        assert caught.value.code == 0
    assert toys.numbers() == [3, 0, 1, 3]
    assert toys.played[0] == toys.played[3] == (3, toys.cases(0)[3].seed)
    assert [line.number for line in ledger.lines()] == [0, 1]
    assert "toy 3: survived well" in capsys.readouterr().out


def test_another_seed_gives_other_cases(toys: Toys, command: Callable[..., None]) -> None:
    for seed in ("0", "1"):
        with pytest.raises(SystemExit):
            command("--only", "1", "--seed", seed)
    (_, first), (_, second) = toys.played
    assert first != second


def test_a_case_that_is_not_survived_ends_with_1(command: Callable[..., None]) -> None:
    for words in (("--only", str(BAD)), ()):
        with pytest.raises(SystemExit) as caught:
            command(*words)
        assert caught.value.code == 1


def test_the_table_has_a_line_for_each_piece_and_each_fault(
    toys: Toys,
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    nothing = figures.table([toys.piece], tmp_path / "out").splitlines()
    assert nothing[2] == "| toys | toys last | not played | 0.0 |"
    with pytest.raises(SystemExit):
        command()
    capsys.readouterr()
    command("--figures")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| toys | toys last | 4 of 5 | ")
    assert "- toys 2, toy 2: the case itself broke: RuntimeError: broken" in lines
    assert any(line.startswith("cpu ") and "torch " in line for line in lines)


def test_a_piece_that_is_none_is_refused() -> None:
    with pytest.raises(SystemExit, match="no such piece; one of "):
        pieces.load(["nothing"])
