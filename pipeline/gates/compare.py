"""Judging one run against another from what both stored: `madpipe compare A B`.

A is the baseline, B is judged, by the bounds of [compare]. What the two runs cannot say together
is skipped, with the reason.
"""

from collections.abc import Mapping

import msgspec

from pipeline.gates.changes import Change, change_of, mapped
from pipeline.gates.estimates import Absent, Estimate
from pipeline.gates.intervals import Bounds
from pipeline.gates.judge import Verdict, verdict_on
from pipeline.gates.measures import COMPARED, is_higher_better
from pipeline.gates.pairs import latency_ratio, paired_drop
from pipeline.gates.stored_runs import Run
from pipeline.settings import CompareGate, Gate


def compare(base: Run, head: Run, gates: Mapping[str, CompareGate]) -> list[Verdict]:
    """Return a verdict on `head` against `base` for each bound, in the order of the settings."""
    verdicts = []
    for name, gate in gates.items():
        if name in COMPARED:
            verdicts.append(verdict_on(name, gate, _compared(name, base, head, gate.confidence)))
        else:
            change = change_of(name, base, head, gate.confidence)
            verdicts += _on_change(name, gate, change)
    return verdicts


def _compared(name: str, base: Run, head: Run, confidence: float) -> Estimate | Absent:
    """Return a measure of two runs together."""
    if name == "latency_ratio":
        return latency_ratio(base, head, confidence)
    if name == "engine_bytes_ratio":
        ratio = head.measurements.engine_bytes / base.measurements.engine_bytes
        return Estimate(ratio, Bounds(ratio, ratio), 1, None)
    return paired_drop(name.removesuffix("_top1_drop"), base, head, confidence)


def _on_change(name: str, gate: CompareGate, change: Change | Absent) -> list[Verdict]:
    """Return a verdict for each bound on a measure's change, named as its setting is."""
    own = "higher-is-better" if is_higher_better(name) else "lower-is-better"
    direction = gate.direction or own
    verdicts = []
    for kind, bound in (("absolute", gate.worse_absolute), ("relative", gate.worse_relative)):
        if bound is None:
            continue
        limits = Gate(
            min=-bound if direction == "no-change" else None,
            max=bound,
            confidence=gate.confidence,
            severity=gate.severity,
        )
        measured = change if isinstance(change, Absent) else change.relative
        if isinstance(change, Change) and kind == "absolute":
            measured = change.absolute
        if isinstance(measured, Estimate) and direction == "higher-is-better":
            measured = mapped(measured, lambda value: -value)
        verdict = verdict_on(f"{name}.worse_{kind}", limits, measured)
        if isinstance(change, Change) and isinstance(measured, Estimate):
            word = "changed" if direction == "no-change" else "worse"
            begin = f"{change.base:.6g} to {change.head:.6g}{change.how}, {word} by "
            verdict = msgspec.structs.replace(verdict, reason=begin + verdict.reason)
        verdicts.append(verdict)
    return verdicts
