"""Judging one run against another from what both stored: `madpipe compare A B`.

A is the baseline, B is judged. Accuracy is paired where both saw the same images. Latencies of
two sessions are never paired: a machine's speed wanders by more between sessions than a gate
allows. But each session measured its engine in turns with the teacher, so where the teacher and
the machine are the same, the ratio of the two speed-ups cancels what the sessions differ in.
Each session's ratios are resampled by blocks on their own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.gates.estimates import Absent, Estimate, drop_estimate, headline_batch, table_estimate
from pipeline.gates.intervals import Bounds
from pipeline.gates.judge import Verdict, verdict_on
from pipeline.gates.measured import read_measured
from pipeline.settings import Gate

_SAME_MACHINE = ("cpu", "cores", "gpu0")
_SAME_TIE = "torch"
"""What runs the teacher, against which both engines were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run to compare."""

    name: str
    measurements: Mapping[str, Any]
    samples: Mapping[str, Any]
    teacher_sha256: str
    host: Mapping[str, str]


def read_samples(path: Path) -> dict[str, Any]:
    """Return stored raw samples.

    Raises:
        StoreError: They are not there, damaged, or of another schema.
    """
    return read_measured(path, "samples", remedy="measure again: madpipe run validate")


def compare(base: Side, head: Side, gates: Mapping[str, Gate]) -> list[Verdict]:
    """Return a verdict on `head` against `base` for each gate."""
    return [_judge(name, gate, base, head) for name, gate in gates.items()]


def _judge(name: str, gate: Gate, base: Side, head: Side) -> Verdict:
    found: Estimate | str
    if name == "latency_ratio":
        found = _latency(base, head, gate.confidence)
    elif name == "engine_bytes_ratio":
        found = _size(base, head)
    else:
        found = _drop(name.removesuffix("_top1_drop"), base, head, gate.confidence)
    return verdict_on(name, gate, Absent(found) if isinstance(found, str) else found)


def _drop(network: str, base: Side, head: Side, confidence: float) -> Estimate | str:
    for side in (base, head):
        if "labels" not in side.samples or network not in side.samples["said"]:
            return f"{side.name} measured no accuracy of the {network}"
    if base.samples["set"]["id"] != head.samples["set"]["id"]:
        return "the two runs saw other images, so their answers are no pairs"
    labels = base.samples["labels"]
    before, after = (side.samples["said"][network] for side in (base, head))
    lost = gained = 0
    for label, first, second in zip(labels, before, after, strict=True):
        lost += first == label != second
        gained += second == label != first
    return drop_estimate(lost, gained, len(labels), confidence)


def _size(base: Side, head: Side) -> Estimate | str:
    before, after = (side.measurements.get("engine_bytes") for side in (base, head))
    if not before or not after:
        return "a run measured no engine"
    value = after / before
    return Estimate(value, Bounds(value, value), 1, None)


def _latency(base: Side, head: Side, confidence: float) -> Estimate | str:
    if base.teacher_sha256 != head.teacher_sha256:
        return "the teachers differ, so nothing measured in both runs ties them together"
    for fact in _SAME_MACHINE:
        if base.host.get(fact) != head.host.get(fact):
            told = f"{base.host.get(fact)}, {head.host.get(fact)}"
            return f"measured on different machines ({fact}: {told})"
    versions = [side.host.get(_SAME_TIE) for side in (base, head)]
    if all(versions) and versions[0] != versions[1]:
        return f"the teacher ran in different versions of torch ({versions[0]}, {versions[1]})"
    batches = [headline_batch(side.measurements) for side in (base, head)]
    if not all(batches):
        return "a run measured no latency"
    first, second = (each for each in batches if each)
    for fact, pair in (
        ("batch", (first["batch"], second["batch"])),
        ("threads", tuple(s.measurements["latency"]["threads"] for s in (base, head))),
        ("device", tuple(s.measurements["latency"]["device"] for s in (base, head))),
    ):
        if pair[0] != pair[1]:
            return f"measured with another {fact} ({pair[0]}, {pair[1]})"
    return ratio_estimate(first["speedup"], second["speedup"], confidence)


def ratio_estimate(base: Mapping[str, Any], head: Mapping[str, Any], confidence: float) -> Estimate:
    """Return B's latency over A's from the speed-up of each, with bounds.

    The logarithms of the two medians are independent, so their reaches add in quadrature. Each
    speed-up's bounds come from resampled blocks of its own session, widened by what one process
    carries, as they were stored.
    """
    value = base["median"] / head["median"]
    first, second = (
        table_estimate(
            each["median"],
            each["quantiles"],
            each["pairs"],
            confidence,
            spread=each.get("spread", 0.0),
            processes=each.get("processes", 1),
        )
        for each in (base, head)
    )

    def bounds(times: float) -> Bounds:
        a, b = (each.with_samples(times) for each in (first, second) if each.with_samples)
        down = math.hypot(math.log(first.value / a.low), math.log(b.high / second.value))
        up = math.hypot(math.log(a.high / first.value), math.log(second.value / b.low))
        return Bounds(value * math.exp(-down), value * math.exp(up))

    return Estimate(
        value,
        bounds(1),
        min(first.n, second.n),
        bounds,
        min(first.processes, second.processes),
        is_held=first.is_held or second.is_held,
    )
