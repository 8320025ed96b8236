"""From stored measurements to the value of a measure, its bounds, and why it may be absent.

Pure: numbers in, numbers out, no numpy.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipeline.gates.intervals import (
    Bounds,
    drop_bounds,
    normal_quantile,
    share_bounds,
    table_bounds,
)

Measurements = Mapping[str, Any]

_SHARES = {
    "top1": "accuracy",
    "agreement": "agreement",
    "bank_agreement": "bank_agreement",
}
_RATIOS = {"speedup", "speedup_same_backend"}
_TIMES = {"engine_p50_ms", "engine_p90_ms", "engine_p99_ms"}
_MEDIANS = {"median", "p50_ms"}


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
    if name in _RATIOS:
        record = (headline_batch(measurements) or {}).get(name)
        return _resampled(record, "median", confidence)
    if name in _TIMES:
        engine = (headline_batch(measurements) or {}).get("engine")
        return _resampled(engine, name.removeprefix("engine_"), confidence)
    if name == "engine_images_per_s":
        return _throughput(measurements, confidence)
    if name == "engine_bytes":
        size = measurements.get("engine_bytes")
        return None if size is None else Estimate(size, Bounds(size, size), 1, None)
    subject, _, quantity = name.partition("_")
    if quantity in {"top1_drop", "top5_drop"}:
        record = measurements.get("paired", {}).get(subject)
        return _drop(record, "" if quantity == "top1_drop" else "top5_", confidence)
    if quantity == "calibration_error":
        record = measurements.get("accuracy", {}).get(subject, {}).get("calibration")
        return _resampled(record, "error", confidence)
    return _share(measurements.get(_SHARES[quantity], {}).get(subject), confidence)


def why_absent(name: str, measurements: Measurements) -> Absent:
    """Return why a measure has no value in these measurements."""
    is_engines = name.startswith(("engine", "speedup"))
    if is_engines and (why := measurements.get("engine_absent")):
        return Absent(f"not measured in this run: {why}", is_elsewhere=True)
    if needed := _calls_needed(name, measurements):
        told = f"{needed} calls would do (validate.pairs)"
        return Absent(f"the sample is too small to claim it, {told}", needed)
    reason = _reason(name, measurements)
    return Absent(f"not measured in this run: {reason}" if reason else "not measured in this run")


def _calls_needed(name: str, measurements: Measurements) -> int | None:
    engine = (headline_batch(measurements) or {}).get("engine") or {}
    needs: Mapping[str, int] = engine.get("needs", {})
    return needs.get(name.removeprefix("engine_")) if name in _TIMES else None


def _reason(name: str, measurements: Measurements) -> str | None:
    accuracy, batch = measurements.get("accuracy", {}), headline_batch(measurements)
    if name.startswith("graph"):
        why = measurements.get("graph_absent")
        return str(why or "the engine was built for no other machine (build.targets is empty)")
    if name.endswith("bank_agreement"):
        return 'validate.images is "held-out"' if accuracy else None
    if name == "speedup_same_backend" and batch:
        why = measurements["latency"].get("teacher_engine_absent")
        return str(why or "validate.teacher_engine is off")
    if not accuracy and measurements.get("bank_agreement"):
        return "there are no labelled images, only the bank"
    if name.endswith("top5_drop") and accuracy:
        return "top-5 says nothing with 5 classes or fewer"
    return None


def headline_batch(measurements: Measurements) -> Mapping[str, Any] | None:
    """Return the latencies at batch size 1, or at the first size where 1 was not measured."""
    batches: list[Mapping[str, Any]] = (measurements.get("latency") or {}).get("batches", [])
    ones = [each for each in batches if each["batch"] == 1]
    return next(iter([*ones, *batches]), None)


def _share(record: Mapping[str, Any] | None, confidence: float) -> Estimate | None:
    if not record:
        return None
    hits, n = record["hits"], record["n"]

    def bounds(times: float) -> Bounds:
        return share_bounds(hits * times, n * times, confidence)

    return Estimate(hits / n, bounds(1), n, bounds)


def _drop(record: Mapping[str, Any] | None, kind: str, confidence: float) -> Estimate | None:
    if not record or f"{kind}lost" not in record:
        return None
    return drop_estimate(record[f"{kind}lost"], record[f"{kind}gained"], record["n"], confidence)


def drop_estimate(lost: int, gained: int, n: int, confidence: float) -> Estimate:
    """Return the paired drop (lost - gained) / n with its score bounds."""

    def bounds(times: float) -> Bounds:
        return drop_bounds(lost * times, gained * times, n * times, confidence)

    return Estimate((lost - gained) / n, bounds(1), n, bounds)


def _resampled(record: Mapping[str, Any] | None, key: str, confidence: float) -> Estimate | None:
    """Return a value whose resampled quantiles are stored beside it."""
    if not record or record.get(key) is None:
        return None
    tables = record["quantiles"]
    table = tables[key] if isinstance(next(iter(tables.values())), Mapping) else tables
    spread, processes = record.get("spread", 0.0), record.get("processes", 1)
    if key not in _MEDIANS:
        # Of all calls together, whose bounds hold what is left of the spread among processes.
        spread, processes = spread / math.sqrt(processes), 1
    return table_estimate(
        record[key],
        table,
        record.get("pairs", record.get("n", 0)),
        confidence,
        spread=spread,
        processes=processes,
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
            return Bounds(*(value + (each - value) * share for each in bounds))
        reaches = (abs(math.log(each / value)) for each in bounds)
        own = (max(reach**2 - steady**2, 0.0) for reach in reaches)
        down, up = (math.hypot(steady, math.sqrt(each / times)) for each in own)
        return Bounds(value * math.exp(-down), value * math.exp(up))

    return Estimate(value, bounds, n, narrowed, processes, is_held=bool(steady))


def _throughput(measurements: Measurements, confidence: float) -> Estimate | None:
    batches = (measurements.get("latency") or {}).get("batches", [])
    if not batches:
        return None
    largest = max(batches, key=lambda each: each["batch"])
    time = _resampled(largest.get("engine"), "p50_ms", confidence)
    if time is None:
        return None
    images = 1000.0 * largest["batch"]

    def turned(bounds: Bounds) -> Bounds:
        return Bounds(images / bounds.high, images / bounds.low)

    slower = time.with_samples
    assert slower is not None
    return Estimate(
        images / time.value,
        turned(time.bounds),
        time.n,
        lambda times: turned(slower(times)),
        time.processes,
        time.is_held,
    )
