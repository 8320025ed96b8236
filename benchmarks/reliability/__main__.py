"""The campaign: faults by the hundred, in pieces that resume.

    python -m benchmarks.reliability                       every piece, where it was left
    python -m benchmarks.reliability kills --cases 20      the first 20 cases of one piece
    python -m benchmarks.reliability kills --only 17       one case again, which keeps its folder
    python -m benchmarks.reliability kills --again         also those that were not survived
    python -m benchmarks.reliability --figures             what is known so far, as Markdown

Each played case is a line in FOLDER/PIECE.jsonl with the seed of all its random choices. A case
that has a line is not played again, unless `--again` asks for those that were not survived; the
newest line of a case counts.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability import figures, pieces
from benchmarks.reliability.cases import Case, Ledger, Piece, timed_play

ROOT = Path(__file__).parents[2]


def play(
    piece: Piece, cases: Sequence[Case], ledger: Ledger, seed: int, *, again: bool = False
) -> int:
    """Play the cases that have no line yet, and `again` those whose line tells a fault.

    Returns:
        How many were not survived.
    """
    known = {line.number for line in ledger.lines() if not (again and line.fault)}
    waiting = [case for case in cases if case.number not in known]
    if not waiting:
        return 0
    faults = 0
    with tempfile.TemporaryDirectory(prefix=f"{piece.name}-") as scratch:
        shared = Path(scratch, "shared")
        shared.mkdir()
        piece.prepare(shared)
        ledger.begin(piece.name, seed, ROOT)
        for case in waiting:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                outcome, seconds = timed_play(piece, case, Path(folder), shared)
            ledger.add(case, outcome, seconds)
            if outcome.fault:
                faults += 1
                print(f"{piece.name} {case.number} ({case.what}): {outcome.fault}", flush=True)
    return faults


def play_one(piece: Piece, case: Case) -> int:
    """Play one case in a folder that stays; return 1 where it was not survived."""
    folder = Path(tempfile.mkdtemp(prefix=f"{piece.name}-{case.number}-"))
    for name in ("shared", "case"):
        (folder / name).mkdir()
    piece.prepare(folder / "shared")
    outcome, seconds = timed_play(piece, case, folder / "case", folder / "shared")
    print(f"{case.what}: {outcome.fault or 'survived'} {outcome.remark} ({seconds:.1f} s) {folder}")
    return bool(outcome.fault)


def main() -> None:
    """Play what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("piece", nargs="*", help=f"of {', '.join(pieces.NAMES)}; none: all")
    parser.add_argument("--cases", type=int, help="so many of each piece's cases; none: all")
    parser.add_argument("--only", type=int, help="the number of the one case to play")
    parser.add_argument("--again", action="store_true", help="also what was not survived")
    parser.add_argument("--seed", type=int, default=0, help="of the campaign")
    parser.add_argument("--out", type=Path, default=Path("reliability"), help="folder of ledgers")
    parser.add_argument("--figures", action="store_true", help="print what the ledgers hold")
    options = parser.parse_args()
    chosen = pieces.load(options.piece or pieces.NAMES)
    if options.figures:
        print(figures.table(chosen, options.out))
        return
    faults = 0
    for piece in chosen:
        cases = piece.cases(options.seed)
        if options.only is not None:
            faults += play_one(piece, next(c for c in cases if c.number == options.only))
            continue
        ledger = Ledger(options.out / f"{piece.name}.jsonl")
        faults += play(piece, cases[: options.cases], ledger, options.seed, again=options.again)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
