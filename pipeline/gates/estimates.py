"""From stored measurements to the value of a measure, its bounds, and why it may be absent.

Pure: numbers in, numbers out, no numpy.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pipeline.gates import intervals
from pipeline.gates.intervals import Bounds
from pipeline.gates.measurements import Latency, LatencyRecord, Measurements, RatioRecord
from pipeline.gates.measures import is_exact


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
    if is_exact(name):
        size = _size(name, measurements)
        return None if size is None else Estimate(size, Bounds(size, size), 1, None)
    network, _, quantity = name.partition("_")
    if network == "speedup" or quantity.endswith(("_ms", "_per_s")):
        latency = measurements.latency
        return _latency(name, latency, confidence) if latency else None
    if quantity.endswith("_drop"):
        paired = measurements.paired.get(network)
        if paired is None:
            return None
        is_top1 = quantity == "top1_drop"
        lost = paired.lost if is_top1 else paired.top5_lost
        gained = paired.gained if is_top1 else paired.top5_gained
        if lost is None or gained is None:
            return None
        return drop_estimate(lost, gained, paired.n, confidence)
    accuracy = measurements.accuracy.get(network)
    if quantity == "calibration_error":
        error = accuracy.calibration if accuracy else None
        return table_estimate(error.error, error.quantiles, error.n, confidence) if error else None
    shares = {
        "agreement": measurements.agreement,
        "bank_agreement": measurements.bank_agreement,
        "images_agreement": measurements.images_agreement,
    }
    share = shares[quantity].get(network) if quantity in shares else accuracy
    if share is None:
        return None
    hits, n = share.hits, share.n

    def bounds(times: float) -> Bounds:
        return intervals.share_bounds(hits * times, n * times, confidence)

    return Estimate(hits / n, bounds(1), n, bounds)


def _size(name: str, measurements: Measurements) -> int | None:
    """Return a size in bytes, None where the system did not report it."""
    match name:
        case "engine_bytes":
            return measurements.engine_bytes
        case "engine_resident_bytes":
            return measurements.memory.engine_resident_bytes
        case _:
            return measurements.memory.process_peak_bytes


def _latency(name: str, latency: Latency, confidence: float) -> Estimate | None:
    if name.startswith("engine_first"):
        return first_estimate(_first_times_ms(name, latency), confidence)
    batch, engine = latency.headline, latency.headline.engine
    match name:
        case "speedup":
            return speedup_estimate(batch.speedup, confidence)
        case "speedup_same_backend":
            ratio = batch.speedup_same_backend
            return speedup_estimate(ratio, confidence) if ratio else None
        case "engine_p50_ms":
            return median_estimate(engine, confidence)
        case "engine_p90_ms":
            value_ms, table = engine.p90_ms, engine.quantiles.p90_ms
        case "engine_p99_ms":
            value_ms, table = engine.p99_ms, engine.quantiles.p99_ms
        case _:
            largest = max(latency.batches, key=lambda batch: batch.batch)
            return _throughput(largest.batch, median_estimate(largest.engine, confidence))
    if value_ms is None or table is None:
        return None
    # Of all calls together, whose bounds hold what is left of the spread among processes.
    spread = engine.spread / math.sqrt(engine.processes)
    return table_estimate(value_ms, table, engine.n, confidence, spread=spread)


def _first_times_ms(name: str, latency: Latency) -> tuple[float, ...]:
    first = latency.first_inference
    if first is None or not name.startswith("engine_first"):
        return ()
    return first.cached_times_ms if name == "engine_first_cached_ms" else first.times_ms


def why_absent(name: str, measurements: Measurements, confidence: float = 0.95) -> Absent:
    """Return why a measure has no value in these measurements at a gate's confidence."""
    if name.startswith(("engine", "speedup")) and measurements.engine_absent:
        return Absent(f"not measured in this run: {measurements.engine_absent}", is_elsewhere=True)
    if measurements.latency:
        if n := len(_first_times_ms(name, measurements.latency)):
            fewest = intervals.fewest_for_median(confidence)
            wrong = f"{n} processes bound no median with a confidence of {confidence:g}"
            return Absent(f"{wrong}, {fewest} would do (validate.first_runs)", fewest)
        needs = measurements.latency.headline.engine.needs
        percentiles = {"engine_p90_ms": needs.p90_ms, "engine_p99_ms": needs.p99_ms}
        if needed := percentiles.get(name):
            remedy = f"{needed} calls would do (validate.pairs)"
            return Absent(f"the sample is too small to claim it, {remedy}", needed)
    reason = _reason(name, measurements)
    return Absent(f"not measured in this run: {reason}" if reason else "not measured in this run")


def _reason(name: str, measurements: Measurements) -> str | None:
    has_labels = bool(measurements.accuracy)
    if name.startswith("graph"):
        no_targets = "the engine was built for no other machine (build.targets is empty)"
        return measurements.graph_absent or no_targets
    if name.endswith("bank_agreement"):
        return 'validate.images is "held-out"' if has_labels else None
    if name.endswith("images_agreement"):
        return None if measurements.images_agreement else "there are no unlabelled images"
    if name == "speedup_same_backend" and measurements.latency:
        return measurements.latency.teacher_engine_absent or "validate.teacher_engine is off"
    if name.startswith("engine_first") and measurements.latency:
        is_off = measurements.latency.first_inference is None
        return "validate.first_runs is 0" if is_off else "no kernels were kept by this runtime"
    if not has_labels and measurements.bank_agreement:
        return "there are no labelled images, only the bank"
    if name.endswith("top5_drop") and has_labels:
        return "top-5 means nothing with 5 classes or fewer"
    return None


def drop_estimate(lost: int, gained: int, n: int, confidence: float) -> Estimate:
    """Return the paired drop (lost - gained) / n with its score bounds."""

    def bounds(times: float) -> Bounds:
        return intervals.drop_bounds(lost * times, gained * times, n * times, confidence)

    return Estimate((lost - gained) / n, bounds(1), n, bounds)


def first_estimate(times_ms: Sequence[float], confidence: float) -> Estimate | None:
    """Return the median time to a first inference over new processes.

    Bounds are order statistics; None where the processes are too few for the confidence.
    """
    bounds = intervals.median_bounds(times_ms, confidence)
    return bounds and Estimate(statistics.median(times_ms), bounds, len(times_ms), None)


def speedup_estimate(ratio: RatioRecord, confidence: float) -> Estimate:
    """Return a speed-up with bounds from its stored quantiles, of resampled blocks of calls."""
    return table_estimate(
        ratio.median,
        ratio.quantiles,
        ratio.pairs,
        confidence,
        spread=ratio.spread,
        processes=ratio.processes,
    )


def median_estimate(latency: LatencyRecord, confidence: float) -> Estimate:
    """Return a network's median latency with bounds, in milliseconds."""
    return table_estimate(
        latency.p50_ms,
        latency.quantiles.p50_ms,
        latency.n,
        confidence,
        spread=latency.spread,
        processes=latency.processes,
    )


def _throughput(batch: int, time_ms: Estimate) -> Estimate:
    def inverted(bounds: Bounds) -> Bounds:
        return Bounds(1000.0 * batch / bounds.high, 1000.0 * batch / bounds.low)

    slower = time_ms.with_samples
    assert slower is not None
    return time_ms._replace(
        value=1000.0 * batch / time_ms.value,
        bounds=inverted(time_ms.bounds),
        with_samples=lambda times: inverted(slower(times)),
    )


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

    `n` samples in `processes` processes are behind it. `spread` is the relative standard deviation
    that the bounds hold and that no sample of one process narrows, for positive values only.
    """
    bounds = intervals.table_bounds(quantiles, confidence)
    steady = intervals.normal_quantile(confidence) * spread if processes == 1 else 0.0

    def narrowed(times: float) -> Bounds:
        if not steady:
            share = 1 / math.sqrt(times)
            return Bounds(*(value + (bound - value) * share for bound in bounds))
        reaches = (abs(math.log(bound / value)) for bound in bounds)
        squares = (max(reach**2 - steady**2, 0.0) for reach in reaches)
        down, up = (math.hypot(steady, math.sqrt(square / times)) for square in squares)
        return Bounds(value * math.exp(-down), value * math.exp(up))

    return Estimate(value, bounds, n, narrowed, processes, is_held=bool(steady))
