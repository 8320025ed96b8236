"""From stored measurements to the value of a measure, its bounds, and why it may be absent.

Pure: numbers in, numbers out, no numpy.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipeline.gates.intervals import (
    Bounds,
    drop_bounds,
    normal_quantile,
    share_bounds,
    table_bounds,
)
from pipeline.gates.measurements import (
    Accuracy,
    Agreement,
    Latency,
    LatencyRecord,
    Measurements,
    PairedDrop,
    QuantileTable,
    RatioRecord,
)

LATENCY_MEASURES = {
    "speedup",
    "speedup_same_backend",
    "engine_p50_ms",
    "engine_p90_ms",
    "engine_p99_ms",
    "engine_images_per_s",
}


class Estimate(NamedTuple):
    """A measured value, its bounds, and what more samples would make of them."""

    value: float
    bounds: Bounds
    n: int
    with_samples: Callable[[float], Bounds] | None
    """The bounds that so many times as many samples with the same shares would give."""
    processes: int = 1
    """Where above 1, it is processes that are the samples: only their medians count."""
    is_held: bool = False
    """Whether the bounds hold a spread between processes that no sample of one narrows."""


class Absent(NamedTuple):
    """Why a measure has no value in these measurements."""

    reason: str
    needed: int | None = None
    """How many samples would give it one, where more of them would."""
    is_elsewhere: bool = False
    """Whether the engine is for a GPU that is not here, so that nobody expected a value."""


def estimate(name: str, measurements: Measurements, confidence: float) -> Estimate | None:
    """Return the measured value of a gate's name with its bounds, None where not measured."""
    if name == "engine_bytes":
        size = measurements.engine_bytes
        return Estimate(size, Bounds(size, size), 1, None)
    if name in LATENCY_MEASURES:
        latency = measurements.latency
        return None if latency is None else _latency(name, latency, confidence)
    network, _, quantity = name.partition("_")
    share: Accuracy | Agreement | None
    match quantity:
        case "top1_drop" | "top5_drop":
            paired = measurements.paired.get(network)
            return _paired_drop(paired, confidence, is_top5=quantity == "top5_drop")
        case "calibration_error":
            return _calibration_error(measurements.accuracy.get(network), confidence)
        case "agreement":
            share = measurements.agreement.get(network)
        case "bank_agreement":
            share = measurements.bank_agreement.get(network)
        case _:
            share = measurements.accuracy.get(network)
    return _share(share, confidence)


def _latency(name: str, latency: Latency, confidence: float) -> Estimate | None:
    batch = latency.headline
    engine, quantiles = batch.engine, batch.engine.quantiles
    match name:
        case "speedup":
            return speedup_estimate(batch.speedup, confidence)
        case "speedup_same_backend":
            ratio = batch.speedup_same_backend
            return None if ratio is None else speedup_estimate(ratio, confidence)
        case "engine_p90_ms":
            return _percentile(engine, engine.p90_ms, quantiles.p90_ms, confidence)
        case "engine_p99_ms":
            return _percentile(engine, engine.p99_ms, quantiles.p99_ms, confidence)
        case "engine_p50_ms":
            return _median(engine, confidence)
        case _:
            return _throughput(latency, confidence)


def why_absent(name: str, measurements: Measurements) -> Absent:
    """Return why a measure has no value in these measurements."""
    is_of_engine = name.startswith(("engine", "speedup"))
    if is_of_engine and measurements.engine_absent:
        return Absent(f"not measured in this run: {measurements.engine_absent}", is_elsewhere=True)
    if needed := _calls_needed(name, measurements.latency):
        remedy = f"{needed} calls would do (validate.pairs)"
        return Absent(f"the sample is too small to claim it, {remedy}", needed)
    reason = _reason(name, measurements)
    return Absent(f"not measured in this run: {reason}" if reason else "not measured in this run")


def _calls_needed(name: str, latency: Latency | None) -> int | None:
    if latency is None:
        return None
    needs = latency.headline.engine.needs
    return {"engine_p90_ms": needs.p90_ms, "engine_p99_ms": needs.p99_ms}.get(name)


def _reason(name: str, measurements: Measurements) -> str | None:
    has_labels = bool(measurements.accuracy)
    if name.startswith("graph"):
        no_targets = "the engine was built for no other machine (build.targets is empty)"
        return measurements.graph_absent or no_targets
    if name.endswith("bank_agreement"):
        return 'validate.images is "held-out"' if has_labels else None
    if name == "speedup_same_backend" and measurements.latency:
        return measurements.latency.teacher_engine_absent or "validate.teacher_engine is off"
    if not has_labels and measurements.bank_agreement:
        return "there are no labelled images, only the bank"
    if name.endswith("top5_drop") and has_labels:
        return "top-5 means nothing with 5 classes or fewer"
    return None


def _share(record: Accuracy | Agreement | None, confidence: float) -> Estimate | None:
    if record is None:
        return None
    hits, n = record.hits, record.n

    def bounds(times: float) -> Bounds:
        return share_bounds(hits * times, n * times, confidence)

    return Estimate(hits / n, bounds(1), n, bounds)


def _paired_drop(paired: PairedDrop | None, confidence: float, *, is_top5: bool) -> Estimate | None:
    if paired is None:
        return None
    if not is_top5:
        return drop_estimate(paired.lost, paired.gained, paired.n, confidence)
    if paired.top5_lost is None or paired.top5_gained is None:
        return None
    return drop_estimate(paired.top5_lost, paired.top5_gained, paired.n, confidence)


def drop_estimate(lost: int, gained: int, n: int, confidence: float) -> Estimate:
    """Return the paired drop (lost - gained) / n with its score bounds."""

    def bounds(times: float) -> Bounds:
        return drop_bounds(lost * times, gained * times, n * times, confidence)

    return Estimate((lost - gained) / n, bounds(1), n, bounds)


def _calibration_error(accuracy: Accuracy | None, confidence: float) -> Estimate | None:
    if accuracy is None:
        return None
    record = accuracy.calibration
    return table_estimate(record.error, record.quantiles, record.n, confidence)


def speedup_estimate(ratio: RatioRecord, confidence: float) -> Estimate:
    """Return a speed-up with bounds from its stored quantiles.

    The quantiles come from `stages.validate.latency_intervals`, which resamples blocks of calls.
    """
    return table_estimate(
        ratio.median,
        ratio.quantiles,
        ratio.pairs,
        confidence,
        spread=ratio.spread,
        processes=ratio.processes,
    )


def _median(latency: LatencyRecord, confidence: float) -> Estimate:
    return table_estimate(
        latency.p50_ms,
        latency.quantiles.p50_ms,
        latency.n,
        confidence,
        spread=latency.spread,
        processes=latency.processes,
    )


def _percentile(
    latency: LatencyRecord, value_ms: float | None, table: QuantileTable | None, confidence: float
) -> Estimate | None:
    if value_ms is None or table is None:
        return None
    # Of all calls together, whose bounds hold what is left of the spread among processes.
    spread = latency.spread / math.sqrt(latency.processes)
    return table_estimate(value_ms, table, latency.n, confidence, spread=spread)


def table_estimate(
    value: float,
    quantiles: Mapping[str, float],
    n: int,
    confidence: float,
    *,
    spread: float = 0.0,
    processes: int = 1,
) -> Estimate:
    """Return a value with bounds from a table of quantiles; they narrow as the root of n grows.

    Args:
        value: What was measured.
        quantiles: Of its distribution, by their levels.
        n: Samples behind it.
        confidence: Of each bound.
        spread: Relative standard deviation that the bounds hold and that no sample of one
            process narrows, positive values only.
        processes: How many measured it.
    """
    bounds = table_bounds(dict(quantiles), confidence)
    steady = normal_quantile(confidence) * spread if processes == 1 else 0.0

    def narrowed(times: float) -> Bounds:
        if not steady:
            share = 1 / math.sqrt(times)
            return Bounds(*(value + (bound - value) * share for bound in bounds))
        reaches = (abs(math.log(bound / value)) for bound in bounds)
        squares = (max(reach**2 - steady**2, 0.0) for reach in reaches)
        down, up = (math.hypot(steady, math.sqrt(square / times)) for square in squares)
        return Bounds(value * math.exp(-down), value * math.exp(up))

    return Estimate(value, bounds, n, narrowed, processes, is_held=bool(steady))


def _throughput(latency: Latency, confidence: float) -> Estimate:
    largest = max(latency.batches, key=lambda batch: batch.batch)
    time = _median(largest.engine, confidence)
    images = 1000.0 * largest.batch

    def inverted(bounds: Bounds) -> Bounds:
        return Bounds(images / bounds.high, images / bounds.low)

    slower = time.with_samples
    assert slower is not None
    return Estimate(
        images / time.value,
        inverted(time.bounds),
        time.n,
        lambda times: inverted(slower(times)),
        time.processes,
        time.is_held,
    )
