"""From stored measurements to the value of a measure, its bounds, and why it may be absent.

Pure: numbers in, numbers out, no numpy.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pipeline.intervals import Bounds, drop_bounds, share_bounds, table_bounds

Measurements = Mapping[str, Any]

_SHARES = {
    "top1": "accuracy",
    "agreement": "agreement",
    "bank_agreement": "bank_agreement",
}
_RATIOS = {"speedup", "speedup_same_backend"}
_TIMES = {"engine_p50_ms", "engine_p90_ms", "engine_p99_ms"}


class Estimate(NamedTuple):
    """A measured value, its bounds, and what more samples would make of them."""

    value: float
    bounds: Bounds
    n: int
    with_samples: Callable[[float], Bounds] | None
    """The bounds that so many times as many samples with the same shares would give."""


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


def why_absent(name: str, measurements: Measurements) -> str:
    """Return why a measure has no value in these measurements."""
    reason = _reason(name, measurements)
    return f"not measured in this run: {reason}" if reason else "not measured in this run"


def _reason(name: str, measurements: Measurements) -> str | None:
    accuracy, batch = measurements.get("accuracy", {}), headline_batch(measurements)
    is_engines = name.startswith(("engine", "speedup"))
    if is_engines and (why := measurements.get("engine_absent")):
        return str(why)
    if name.startswith("graph") and not measurements.get("engine_absent"):
        return "the engine itself ran here"
    if name.endswith("bank_agreement"):
        return 'validate.images is "held-out"' if accuracy else None
    if name == "speedup_same_backend" and batch:
        why = measurements["latency"].get("teacher_engine_absent")
        return str(why or "validate.teacher_engine is off")
    if name in _TIMES and batch and batch.get("engine"):
        needs = batch["engine"].get("needs", {}).get(name.removeprefix("engine_"))
        return f"the sample is too small to claim it, {needs} calls would do (validate.pairs)"
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
    return table_estimate(record[key], table, record.get("pairs", record.get("n", 0)), confidence)


def table_estimate(
    value: float, quantiles: Mapping[str, float], n: int, confidence: float
) -> Estimate:
    """Return a value with bounds from a table of quantiles; they narrow as the root of n grows."""
    bounds = table_bounds(dict(quantiles), confidence)

    def narrowed(times: float) -> Bounds:
        share = 1 / math.sqrt(times)
        return Bounds(*(value + (each - value) * share for each in bounds))

    return Estimate(value, bounds, n, narrowed)


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
        images / time.value, turned(time.bounds), time.n, lambda times: turned(slower(times))
    )
