"""Judging stored measurements: for each gate pass, fail or inconclusive, with the reason.

Pure and never cached: a changed limit measures nothing anew. A gate passes when its confidence
bound is within the limit, fails when the opposite bound is beyond it, else it is inconclusive.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from pipeline import exit_codes
from pipeline.gates.estimates import Absent, Estimate, estimate, why_absent
from pipeline.gates.intervals import Bounds
from pipeline.gates.measurements import Measurements
from pipeline.settings import Gate

Outcome = Literal["pass", "fail", "inconclusive", "skipped"]

_MOST_TIMES = 1e6
_BISECTIONS = 40
_UNDECIDABLE = (
    "no number of calls in one process would decide it, more processes may (validate.processes)"
)


class Verdict(Struct, frozen=True, kw_only=True):
    """The verdict on one gate, as the report has it."""

    name: str
    verdict: Outcome
    value: float | None = None
    interval: tuple[float, float] | None = None
    """One-sided confidence bounds, lower and upper."""
    threshold: float | None = None
    reason: str = ""
    severity: Literal["error", "warn"] = "error"
    confidence: float | None = None
    n: int | None = None
    needed: int | None = None
    """About how many samples (processes, if several measured) would decide it, if any would."""
    is_elsewhere: bool = False
    """Skipped because the engine is for a GPU that is not here; no other skipping is excused."""

    @property
    def is_open(self) -> bool:
        """Whether the gate did not decide; one for an engine of a GPU elsewhere is excused."""
        is_unexcused = self.verdict == "skipped" and not self.is_elsewhere
        return self.verdict == "inconclusive" or is_unexcused

    @property
    def is_unmet(self) -> bool:
        """Whether the gate failed or is open."""
        return self.verdict == "fail" or self.is_open

    @property
    def only_warns(self) -> bool:
        """Whether the exit code ignores the gate."""
        return self.severity == "warn"


def judge(measurements: Measurements, gates: Mapping[str, Gate]) -> list[Verdict]:
    """Return a verdict for each gate, in the order of the settings."""
    verdicts = []
    for name, gate in gates.items():
        measured = estimate(name, measurements, gate.confidence)
        verdicts.append(
            verdict_on(name, gate, measured or why_absent(name, measurements, gate.confidence))
        )
    return verdicts


def exit_code(verdicts: Sequence[Verdict], inconclusive: int = exit_codes.GATE_INCONCLUSIVE) -> int:
    """Return a command's exit code: open gates are inconclusive, those that only warn ignored."""
    strict = [verdict for verdict in verdicts if not verdict.only_warns]
    if any(verdict.verdict == "fail" for verdict in strict):
        return exit_codes.GATE_FAILED
    return inconclusive if any(verdict.is_open for verdict in strict) else exit_codes.DONE


def verdict_on(name: str, gate: Gate, measured: Estimate | Absent) -> Verdict:
    """Return the verdict of one gate on an estimate, or on why there is none."""
    judged = partial(Verdict, name=name, severity=gate.severity, confidence=gate.confidence)
    threshold = gate.most if gate.most is not None else gate.min
    if isinstance(measured, Absent):
        return judged(
            verdict="skipped" if measured.needed is None else "inconclusive",
            threshold=threshold,
            reason=measured.reason,
            needed=measured.needed,
            is_elsewhere=measured.is_elsewhere,
        )
    outcome = _outcome(gate, measured.bounds)
    if gate.most is not None and gate.min is not None and measured.value < gate.min:
        threshold = gate.min
    needed = _samples_to_decide(gate, measured) if outcome == "inconclusive" else None
    return judged(
        verdict=outcome,
        value=measured.value,
        interval=(measured.bounds.low, measured.bounds.high),
        threshold=threshold,
        reason=_reason(outcome, gate, measured, needed),
        n=measured.n,
        needed=needed,
    )


def _reason(outcome: Outcome, gate: Gate, measured: Estimate, needed: int | None) -> str:
    bounds = (("at least", gate.min), ("at most", gate.most))
    limits = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    low, high = measured.bounds
    base = f"{measured.value:.4g} in [{low:.4g}, {high:.4g}], wanted {limits}, n = {measured.n}"
    if outcome != "inconclusive":
        return base
    if needed is None:
        return f"{base}: {_UNDECIDABLE if measured.is_held else 'too close to decide'}"
    unit = "processes" if measured.processes > 1 else "samples"
    return f"{base}: about {needed} {unit} would decide it"


def _outcome(gate: Gate, bounds: Bounds) -> Outcome:
    low, high = bounds
    most = gate.most
    if (most is not None and low > most) or (gate.min is not None and high < gate.min):
        return "fail"
    if (most is None or high <= most) and (gate.min is None or low >= gate.min):
        return "pass"
    return "inconclusive"


def _samples_to_decide(gate: Gate, measured: Estimate) -> int | None:
    """Return how many samples like those measured decide the gate, None where none would."""
    if measured.with_samples is None:
        return None
    low, high = 1.0, 2.0
    while _outcome(gate, measured.with_samples(high)) == "inconclusive":
        low, high = high, 2 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_decided = _outcome(gate, measured.with_samples(middle)) != "inconclusive"
        low, high = (low, middle) if is_decided else (middle, high)
    return math.ceil((measured.processes if measured.processes > 1 else measured.n) * high)
