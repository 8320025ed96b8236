"""How a measure changed from run A to run B, with bounds, or why the two cannot be compared.

Shares are paired image by image. Latencies, throughput and speed-ups are taken against the teacher
that each session measured beside them, which `pipeline.gates.pairs` explains; times to a first
inference are compared as they are, on the same machine. A relative change of
a share is taken of A's value as it was measured: the error of that value is of second order.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from pipeline.gates.estimates import (
    Absent,
    Estimate,
    estimate,
    median_estimate,
    speedup_estimate,
    why_absent,
)
from pipeline.gates.intervals import Bounds
from pipeline.gates.measures import is_exact
from pipeline.gates.pairs import (
    other_machine,
    paired_agreement_drop,
    paired_drop,
    ratio_of,
    tied_batches,
)
from pipeline.gates.stored_runs import Run

_AGAINST_TEACHER = " (against the teacher beside it)"


class Change(NamedTuple):
    """A measure in two runs, and B's less A's."""

    base: float
    head: float
    absolute: Estimate
    """In the measure's unit."""
    relative: Estimate | Absent
    """As a share of A's value."""
    how: str = ""
    """What stands between the two values and the change, for a sentence."""


def change_of(name: str, base: Run, head: Run, confidence: float) -> Change | Absent:
    """Return how a measure of `measures.CHANGES` changed from `base` to `head`."""
    network, _, quantity = name.partition("_")
    if is_exact(name):
        return _exact(name, base, head)
    if quantity == "top1":
        return _paired(
            paired_drop(network, base, head, confidence),
            *(_top1(network, run) for run in (base, head)),
        )
    if quantity in {"agreement", "bank_agreement"}:
        kind = "bank" if quantity == "bank_agreement" else "held-out"
        drop = paired_agreement_drop(network, kind, base, head, confidence)
        return _paired(drop, *(_agreement(network, kind, run) for run in (base, head)))
    both = [estimate(name, run.measurements, confidence) for run in (base, head)]
    for run, measured in zip((base, head), both, strict=True):
        if measured is None:
            absent = why_absent(name, run.measurements)
            return absent._replace(reason=f"{run.name}: {absent.reason}", is_elsewhere=False)
    first, second = (measured for measured in both if measured)
    if quantity == "calibration_error":
        if base.samples.dataset.id != head.samples.dataset.id:
            return Absent("the two runs saw other images")
        return _independent(first, second)
    if name.startswith("engine_first"):
        # A start is nothing that the teacher's calls beside it would tie together.
        return other_machine(base, head) or _independent(first, second)
    return _timed(name, base, head, (first, second), confidence)


def _exact(name: str, base: Run, head: Run) -> Change | Absent:
    """Return the change of a size in bytes; memory is of one machine alone."""
    if name != "engine_bytes" and (why := other_machine(base, head)):
        return why
    values = []
    for run in (base, head):
        size = estimate(name, run.measurements, confidence=0.5)
        if size is None:
            return Absent(f"{run.name} measured no {name}")
        values.append(size.value)
    before, after = values
    change = after - before
    return _of_parts(before, after, Estimate(change, Bounds(change, change), 1, None))


def _top1(network: str, run: Run) -> float | None:
    accuracy = run.measurements.accuracy.get(network)
    return accuracy.hits / accuracy.n if accuracy else None


def _agreement(network: str, kind: str, run: Run) -> float | None:
    measured = run.measurements
    share = (measured.bank_agreement if kind == "bank" else measured.agreement).get(network)
    return share.hits / share.n if share else None


def _paired(drop: Estimate | Absent, before: float | None, after: float | None) -> Change | Absent:
    if isinstance(drop, Absent):
        return drop
    if before is None or after is None:
        return Absent("a run stored predictions, but no such share of them")
    return _of_parts(before, after, mapped(drop, lambda value: -value))


def _independent(first: Estimate, second: Estimate) -> Change:
    """Return a difference of two values whose errors are taken as independent.

    Each reach of the difference is that of both values in quadrature (Newcombe, Statistics in
    Medicine 17 (1998) 873, method 10).
    """

    def bounds(times: float) -> Bounds:
        (low1, high1), (low2, high2) = (
            measured.with_samples(times) if measured.with_samples else measured.bounds
            for measured in (first, second)
        )
        value = second.value - first.value
        down = math.hypot(second.value - low2, high1 - first.value)
        return Bounds(value - down, value + math.hypot(high2 - second.value, first.value - low1))

    change = Estimate(second.value - first.value, bounds(1), min(first.n, second.n), bounds)
    return _of_parts(first.value, second.value, change)


def _timed(
    name: str, base: Run, head: Run, both: tuple[Estimate, Estimate], confidence: float
) -> Change | Absent:
    """Return the change of what is measured in time."""
    first, second = both
    batches = tied_batches(base, head, is_largest=name.endswith("_per_s"))
    if isinstance(batches, Absent):
        return batches
    if name.startswith("speedup"):
        ratio = ratio_of([second], [first])
        return _of_ratio(first, second, ratio, "")
    if name in {"engine_p50_ms", "engine_images_per_s"}:
        slower, faster = (speedup_estimate(batch.speedup, confidence) for batch in batches)
        if name.endswith("_per_s"):
            slower, faster = faster, slower
        return _of_ratio(first, second, ratio_of([slower], [faster]), _AGAINST_TEACHER)
    of_base, of_head = (median_estimate(batch.teacher, confidence) for batch in batches)
    ratio = ratio_of([second, of_base], [first, of_head])
    return _of_ratio(first, second, ratio, _AGAINST_TEACHER)


def _of_ratio(first: Estimate, second: Estimate, ratio: Estimate, how: str) -> Change:
    relative = mapped(ratio, lambda value: value - 1)
    absolute = mapped(ratio, lambda value: first.value * (value - 1))
    return Change(first.value, second.value, absolute, relative, how)


def _of_parts(before: float, after: float, change: Estimate) -> Change:
    if before == 0:
        relative: Estimate | Absent = Absent("A's value is 0, of which nothing is a share")
    else:
        relative = mapped(change, lambda value: value / before)
    return Change(before, after, change, relative)


def mapped(measured: Estimate, to: Callable[[float], float]) -> Estimate:
    """Return an estimate of a monotonic function of a value."""

    def of_bounds(bounds: Bounds) -> Bounds:
        return Bounds(*sorted(map(to, bounds)))

    narrowed = measured.with_samples
    return measured._replace(
        value=to(measured.value),
        bounds=of_bounds(measured.bounds),
        with_samples=(lambda times: of_bounds(narrowed(times))) if narrowed else None,
    )
