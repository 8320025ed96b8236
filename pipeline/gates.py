"""Judging stored measurements: for each gate pass, fail or inconclusive, with the reason.

Pure: numbers in, verdicts out. Never cached, since it costs nothing; a changed bound measures
nothing anew. A gate passes when its confidence bound is within the limit, fails when the
opposite bound is beyond it, and is inconclusive between.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from pipeline.intervals import Bounds, drop_bounds, share_bounds, table_bounds
from pipeline.settings import Gate

Outcome = Literal["pass", "fail", "inconclusive", "skipped"]
Measurements = Mapping[str, Any]

_MOST_TIMES = 1e6
_BISECTIONS = 40

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
    """A measured value, its bounds, and what more samples would make of them."""

    value: float
    bounds: Bounds
    n: int
    with_samples: Callable[[float], Bounds] | None
    """The bounds that so many times as many samples with the same shares would give."""


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
        reason = measurements.get("not_run") or "not measured in this run"
        return Verdict(name, "skipped", None, None, threshold, reason)
    low, high = found.bounds
    outcome = _outcome(gate, found.bounds)
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
    needed = _samples_to_decide(gate, found)
    if needed is None:
        return f"{base}: too close to decide"
    return f"{base}: about {needed} samples would decide it"


def _outcome(gate: Gate, bounds: Bounds) -> Outcome:
    low, high = bounds
    if (gate.max is not None and low > gate.max) or (gate.min is not None and high < gate.min):
        return "fail"
    if (gate.max is None or high <= gate.max) and (gate.min is None or low >= gate.min):
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
    return math.ceil(found.n * high)


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

    def bounds(times: float) -> Bounds:
        return share_bounds(hits * times, n * times, confidence)

    return Estimate(hits / n, bounds(1), n, bounds)


def _drop(record: Mapping[str, Any] | None, confidence: float) -> Estimate | None:
    if not record:
        return None
    lost, gained, n = record["lost"], record["gained"], record["n"]

    def bounds(times: float) -> Bounds:
        return drop_bounds(lost * times, gained * times, n * times, confidence)

    return Estimate((lost - gained) / n, bounds(1), n, bounds)


def _resampled(name: str, measurements: Measurements, confidence: float) -> Estimate | None:
    first = headline_batch(measurements)
    if first is None:
        return None
    record = first["speedup"] if name == "speedup" else first["engine"]
    value = record["median"] if name == "speedup" else record["p50_ms"]
    bounds = table_bounds(record["quantiles"], confidence)

    def narrowed(times: float) -> Bounds:
        share = 1 / math.sqrt(times)
        return Bounds(*(value + (each - value) * share for each in bounds))

    return Estimate(value, bounds, first["speedup"]["pairs"], narrowed)
