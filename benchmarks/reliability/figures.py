"""What the ledgers of a campaign say, as a table in Markdown."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability.cases import Ledger, Piece

_FACTS = ("cpu", "cores", "memory_gib", "python", "torch", "onnxruntime-gpu", "git")


def table(pieces: Sequence[Piece], folder: Path) -> str:
    """Return one line for each piece, where its cases were played, and each that was not survived.

    A piece that has no ledger in `folder` is a line that says so.
    """
    lines = ["| piece | claim | survived | longest, s |", "| --- | --- | --- | --- |"]
    machines, faults = set[str](), list[str]()
    for piece in pieces:
        ledger = Ledger(folder / f"{piece.name}.jsonl")
        played = ledger.lines()
        survived = sum(not line.fault for line in played)
        longest_s = max((line.seconds for line in played), default=0.0)
        count = f"{survived:,} of {len(played):,}" if played else "not played"
        lines.append(f"| {piece.name} | {piece.claim} | {count} | {longest_s:.1f} |")
        faults += [f"- {piece.name} {x.number}, {x.what}: {x.fault}" for x in played if x.fault]
        for session in ledger.sessions():
            facts = session.environment
            machines.add(", ".join(f"{name} {facts[name]}" for name in _FACTS if name in facts))
    return "\n".join([*lines, "", *sorted(machines), "", *faults])
