"""Judging stored measurements: for each gate pass, fail or inconclusive, with the reason.

Pure: numbers in, verdicts out. Never cached, since it costs nothing; a changed bound measures
nothing anew. A gate passes when its confidence bound is within the limit, fails when the
opposite bound is beyond it, and is inconclusive between.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pipeline.intervals import Bounds, drop_bounds, normal_quantile, share_bounds, table_bounds
from pipeline.settings import Gate

Outcome = Literal["pass", "fail", "inconclusive", "skipped"]
Measurements = Mapping[str, Any]

EXIT_PASS, EXIT_FAIL, EXIT_INCONCLUSIVE = 0, 3, 4


class Verdict(NamedTuple):
    """The judgement of one gate, as the report has it."""

    name: str
    verdict: Outcome
    value: float | None
    interval: tuple[float, float] | None
    """One-sided confidence bounds, lower and upper."""
    threshold: float | None
    reason: str


class Estimate(NamedTuple):
    """A measured value, its bounds, and the spread of one sample where more would narrow it."""

    value: float
    bounds: Bounds
    n: int
    deviation: float | None


def judge(measurements: Measurements, gates: Mapping[str, Gate]) -> list[Verdict]:
    """Return a verdict for each gate, in the order of the settings."""
    return [_judge(name, gate, measurements) for name, gate in gates.items()]


def exit_code(verdicts: list[Verdict], inconclusive: int = EXIT_INCONCLUSIVE) -> int:
    """Return what a command that judged should exit with."""
    outcomes = {verdict.verdict for verdict in verdicts}
    if "fail" in outcomes:
        return EXIT_FAIL
    return inconclusive if "inconclusive" in outcomes else EXIT_PASS


def _judge(name: str, gate: Gate, measurements: Measurements) -> Verdict:
    threshold = gate.max if gate.max is not None else gate.min
    found = estimate(name, measurements, gate.confidence)
    if found is None:
        return Verdict(name, "skipped", None, None, threshold, "not measured in this run")
    low, high = found.bounds
    outcome: Outcome = "inconclusive"
    if (gate.max is not None and low > gate.max) or (gate.min is not None and high < gate.min):
        outcome = "fail"
    elif (gate.max is None or high <= gate.max) and (gate.min is None or low >= gate.min):
        outcome = "pass"
    if gate.max is not None and gate.min is not None and found.value < gate.min:
        threshold = gate.min
    reason = _reason(outcome, gate, found)
    return Verdict(name, outcome, found.value, (low, high), threshold, reason)


def _reason(outcome: Outcome, gate: Gate, found: Estimate) -> str:
    limits = " and ".join(
        f"{word} {bound:g}"
        for word, bound in (("at least", gate.min), ("at most", gate.max))
        if bound is not None
    )
    low, high = found.bounds
    base = f"{found.value:.4g} in [{low:.4g}, {high:.4g}], wanted {limits}, n = {found.n}"
    if outcome != "inconclusive":
        return base
    distances = [abs(found.value - each) for each in (gate.min, gate.max) if each is not None]
    if not found.deviation or min(distances) == 0:
        return f"{base}: too close to decide"
    needed = math.ceil((normal_quantile(gate.confidence) * found.deviation / min(distances)) ** 2)
    return f"{base}: about {max(needed, found.n + 1)} samples would decide it"


def estimate(name: str, measurements: Measurements, confidence: float) -> Estimate | None:
    """Return the measured value of a gate's name with its bounds, None where not measured."""
    if name in {"speedup", "engine_p50_ms"}:
        return _resampled(name, measurements, confidence)
    if name == "engine_bytes":
        size = measurements.get("engine_bytes")
        return None if size is None else Estimate(size, Bounds(size, size), 1, None)
    subject, _, quantity = name.partition("_")
    if quantity == "top1_drop":
        return _drop(measurements.get("paired", {}).get(subject), confidence)
    table = "accuracy" if quantity == "top1" else "agreement"
    return _share(measurements.get(table, {}).get(subject), confidence)


def headline_batch(measurements: Measurements) -> Mapping[str, Any] | None:
    """Return the latencies at batch size 1, or at the first size where 1 was not measured."""
    batches: list[Mapping[str, Any]] = measurements.get("latency", {}).get("batches", [])
    ones = [each for each in batches if each["batch"] == 1]
    return next(iter([*ones, *batches]), None)


def _share(record: Mapping[str, Any] | None, confidence: float) -> Estimate | None:
    if not record:
        return None
    hits, n = record["hits"], record["n"]
    share = hits / n
    deviation = math.sqrt(share * (1 - share))
    return Estimate(share, share_bounds(hits, n, confidence), n, deviation)


def _drop(record: Mapping[str, Any] | None, confidence: float) -> Estimate | None:
    if not record:
        return None
    lost, gained, n = record["lost"], record["gained"], record["n"]
    value = (lost - gained) / n
    deviation = math.sqrt(max(0.0, (lost + gained) / n - value**2))
    return Estimate(value, drop_bounds(lost, gained, n, confidence), n, deviation)


def _resampled(name: str, measurements: Measurements, confidence: float) -> Estimate | None:
    first = headline_batch(measurements)
    if first is None:
        return None
    record = first["speedup"] if name == "speedup" else first["engine"]
    value = record["median"] if name == "speedup" else record["p50_ms"]
    bounds = table_bounds(record["quantiles"], confidence)
    pairs = first["speedup"]["pairs"]
    half = (bounds.high - bounds.low) / 2
    deviation = half * math.sqrt(pairs) / normal_quantile(confidence) if half else None
    return Estimate(value, bounds, pairs, deviation)
