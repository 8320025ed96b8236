"""Judging stored measurements: for each gate pass, fail or inconclusive, with the reason.

Pure: numbers in, verdicts out. Never cached, since it costs nothing; a changed bound measures
nothing anew. A gate passes when its confidence bound is within the limit, fails when the
opposite bound is beyond it, and is inconclusive between.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pipeline import exit_codes
from pipeline.gates.estimates import (
    Absent,
    Estimate,
    Measurements,
    estimate,
    headline_batch,
    why_absent,
)
from pipeline.gates.intervals import Bounds
from pipeline.settings import Gate

__all__ = [
    "Absent",
    "Estimate",
    "Verdict",
    "estimate",
    "exit_code",
    "headline_batch",
    "is_open",
    "judge",
    "verdict_on",
]

Outcome = Literal["pass", "fail", "inconclusive", "skipped"]

_MOST_TIMES = 1e6
_UNDECIDABLE = (
    "no number of calls in one process would decide it, more processes may (validate.processes)"
)
_BISECTIONS = 40


class Verdict(NamedTuple):
    """The judgement of one gate, as the report has it."""

    name: str
    verdict: Outcome
    value: float | None
    interval: tuple[float, float] | None
    """One-sided confidence bounds, lower and upper."""
    threshold: float | None
    reason: str
    severity: Literal["error", "warn"] = "error"
    confidence: float | None = None
    n: int | None = None
    needed: int | None = None
    """About how many samples would decide it, or processes where several measured a median.

    None where it is decided or none would.
    """
    is_elsewhere: bool = False
    """Skipped because the engine is for a GPU that is not here; no other skipping is excused."""


def judge(measurements: Measurements, gates: Mapping[str, Gate]) -> list[Verdict]:
    """Return a verdict for each gate, in the order of the settings."""
    return [
        verdict_on(
            name,
            gate,
            estimate(name, measurements, gate.confidence) or why_absent(name, measurements),
        )
        for name, gate in gates.items()
    ]


def exit_code(verdicts: Sequence[Verdict], inconclusive: int = exit_codes.GATE_INCONCLUSIVE) -> int:
    """Return what a command that judged should exit with; gates that only warn do not count.

    A gate on what was not measured has decided nothing, and counts as inconclusive.
    """
    counted = [each for each in verdicts if each.severity == "error"]
    if any(each.verdict == "fail" for each in counted):
        return exit_codes.GATE_FAILED
    is_any_open = any(is_open(each.verdict, each.is_elsewhere) for each in counted)
    return inconclusive if is_any_open else exit_codes.DONE


def is_open(verdict: str, is_elsewhere: bool) -> bool:  # noqa: FBT001  (the two fields that tell)
    """Tell whether a gate was to decide and did not."""
    return verdict == "inconclusive" or (verdict == "skipped" and not is_elsewhere)


def verdict_on(name: str, gate: Gate, found: Estimate | Absent) -> Verdict:
    """Return the verdict of one gate on an estimate, or on why there is none."""
    threshold = gate.most if gate.most is not None else gate.min
    if isinstance(found, Absent):
        return Verdict(
            name,
            "skipped" if found.needed is None else "inconclusive",
            None,
            None,
            threshold,
            found.reason,
            gate.severity,
            gate.confidence,
            needed=found.needed,
            is_elsewhere=found.is_elsewhere,
        )
    low, high = found.bounds
    outcome = _outcome(gate, found.bounds)
    if gate.most is not None and gate.min is not None and found.value < gate.min:
        threshold = gate.min
    needed = _samples_to_decide(gate, found) if outcome == "inconclusive" else None
    return Verdict(
        name,
        outcome,
        found.value,
        (low, high),
        threshold,
        _reason(outcome, gate, found, needed),
        gate.severity,
        gate.confidence,
        found.n,
        needed,
    )


def _reason(outcome: Outcome, gate: Gate, found: Estimate, needed: int | None) -> str:
    limits = " and ".join(
        f"{word} {bound:g}"
        for word, bound in (("at least", gate.min), ("at most", gate.most))
        if bound is not None
    )
    low, high = found.bounds
    base = f"{found.value:.4g} in [{low:.4g}, {high:.4g}], wanted {limits}, n = {found.n}"
    if outcome != "inconclusive":
        return base
    if needed is None:
        return f"{base}: {_UNDECIDABLE if found.is_held else 'too close to decide'}"
    unit = "processes" if found.processes > 1 else "samples"
    return f"{base}: about {needed} {unit} would decide it"


def _outcome(gate: Gate, bounds: Bounds) -> Outcome:
    low, high = bounds
    most = gate.most
    if (most is not None and low > most) or (gate.min is not None and high < gate.min):
        return "fail"
    if (most is None or high <= most) and (gate.min is None or low >= gate.min):
        return "pass"
    return "inconclusive"


def _samples_to_decide(gate: Gate, found: Estimate) -> int | None:
    """Return how many samples like those measured decide the gate, None where none would."""
    if found.with_samples is None:
        return None
    low, high = 1.0, 2.0
    while _outcome(gate, found.with_samples(high)) == "inconclusive":
        low, high = high, 2 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_decided = _outcome(gate, found.with_samples(middle)) != "inconclusive"
        low, high = (low, middle) if is_decided else (middle, high)
    return math.ceil((found.processes if found.processes > 1 else found.n) * high)


def as_record(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as the report has it."""
    return verdict._asdict() | {"interval": list(verdict.interval) if verdict.interval else None}
