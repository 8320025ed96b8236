"""Whether stored figures can have been measured: those that nothing measures are refused.

A document can follow its schema and say that 900 of 540 images were right, or that a call took
-3 ms. Judged, it would be a wrong verdict or an error of the arithmetic, so whoever reads one asks
here first. Light: no numpy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pipeline.gates.measurements import (
    BatchLatency,
    FirstInference,
    LatencyRecord,
    Measurements,
    QuantileTable,
    RatioRecord,
    Samples,
)

_MOST_COUNT = 2**53
"""Above it a count is no exact float; no file and no memory has so many bytes."""
_LEAST, _MOST = 1e-9, 1e12
"""Milliseconds, and ratios of them: a cycle of no processor, and 31 years."""
_MOST_SPREAD = 100.0


def why_unsound(document: Measurements | Samples) -> str:
    """Return which figure nothing measures and its value, empty where all can be true."""
    wrongs = _of_samples(document) if isinstance(document, Samples) else _of_measurements(document)
    return next(_beyond(msgspec.to_builtins(document), ""), "") or next(wrongs, "")


def _of_measurements(measured: Measurements) -> Iterator[str]:
    if not measured.engine_bytes:
        yield "engine_bytes is 0"
    yield from _of_shares(measured)
    if latency := measured.latency:
        if not latency.batches:
            yield "latency has no batch size"
        for batch in latency.batches:
            yield from _of_batch(batch)
        if latency.first_inference:
            yield from _of_first(latency.first_inference)


def _of_shares(measured: Measurements) -> Iterator[str]:
    for network, accuracy in measured.accuracy.items():
        place = f"accuracy of {network}"
        yield from _share(place, accuracy.hits, accuracy.n)
        if accuracy.top5_hits is not None:
            yield from _share(f"top-5 {place}", accuracy.top5_hits, accuracy.n)
        yield from _share(f"calibration of {network}", 0, accuracy.calibration.n)
        yield from _table(f"calibration of {network}", accuracy.calibration.quantiles, least=0.0)
    for kind in ("agreement", "bank_agreement", "images_agreement"):
        for network, agreement in getattr(measured, kind).items():
            yield from _share(f"{kind} of {network}", agreement.hits, agreement.n)
    for network, pair in measured.paired.items():
        yield from _share(f"paired drop of {network}", pair.lost + pair.gained, pair.n)
        top5 = (pair.top5_lost or 0) + (pair.top5_gained or 0)
        yield from _share(f"paired top-5 drop of {network}", top5, pair.n)


def _of_batch(batch: BatchLatency) -> Iterator[str]:
    place = f"batch {batch.batch}"
    if not batch.batch:
        yield "a batch size is 0"
    for name in ("teacher", "teacher_engine", "engine"):
        record: LatencyRecord | None = getattr(batch, name)
        if record is not None:
            yield from _of_latency(f"{place}, {name}", record)
    for name in ("speedup", "speedup_same_backend"):
        ratio: RatioRecord | None = getattr(batch, name)
        if ratio is not None:
            yield from _of_ratio(f"{place}, {name}", ratio)


def _of_latency(place: str, record: LatencyRecord) -> Iterator[str]:
    yield from _spread(place, record.spread, record.processes)
    yield from _share(place, 0, record.n)
    for name in ("p50_ms", "p90_ms", "p99_ms"):
        value_ms: float | None = getattr(record, name)
        table: QuantileTable | None = getattr(record.quantiles, name)
        if value_ms is not None:
            yield from _positive(f"{place}, {name}", value_ms)
        if table is not None:
            yield from _table(f"{place}, {name}", table)


def _of_ratio(place: str, ratio: RatioRecord) -> Iterator[str]:
    yield from _spread(place, ratio.spread, ratio.processes)
    yield from _share(place, 0, ratio.pairs)
    for value in (ratio.median, *ratio.interval):
        yield from _positive(place, value)
    yield from _table(place, ratio.quantiles)


def _of_first(first: FirstInference) -> Iterator[str]:
    times_ms = [first.p50_ms, *first.times_ms, *first.cached_times_ms]
    if first.cached_p50_ms is not None:
        times_ms.append(first.cached_p50_ms)
    for time_ms in times_ms:
        yield from _positive("first inference", time_ms)


def _of_samples(samples: Samples) -> Iterator[str]:
    lengths = {network: len(classes) for network, classes in samples.predictions.items()}
    if samples.labels is not None:
        lengths["labels"] = len(samples.labels)
    for name, length in lengths.items():
        if length != samples.dataset.n:
            yield f"{name} has {length} of {samples.dataset.n} images"
    classes = [*(samples.labels or ()), *(c for p in samples.predictions.values() for c in p)]
    if classes and min(classes) < 0:
        yield f"class {min(classes)}"
    for batch in samples.latency.batches.values() if samples.latency else ():
        for times_ms in (batch.teacher_ms, batch.teacher_engine_ms or (), batch.engine_ms):
            for time_ms in times_ms:
                yield from _positive("a call", time_ms)


def _share(place: str, hits: int, n: int) -> Iterator[str]:
    if not 0 <= hits <= n or not n:
        yield f"{place}: {hits} of {n}"


def _positive(place: str, value: float) -> Iterator[str]:
    if not _LEAST <= value <= _MOST:
        yield f"{place}: {value:g}"


def _spread(place: str, spread: float, processes: int) -> Iterator[str]:
    if not 0 <= spread <= _MOST_SPREAD:
        yield f"{place}: a spread of {spread:g}"
    if not processes:
        yield f"{place}: no process"


def _table(place: str, table: QuantileTable, least: float = _LEAST) -> Iterator[str]:
    """Yield what is wrong with quantiles by their levels, which are texts."""
    for level, value in table.items():
        if not _is_level(level) or not least <= value <= _MOST:
            yield f"{place}: {value:g} as its quantile {level[:20]}"
    if not table:
        yield f"{place}: no quantiles"


def _is_level(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _beyond(value: object, place: str) -> Iterator[str]:
    """Yield each number that is below any count, or beyond what a float holds exactly."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _beyond(part, f"{place}.{name}".lstrip("."))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _beyond(part, place)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place} is {value}"
    elif isinstance(value, int) and not -_MOST_COUNT <= value <= _MOST_COUNT:
        yield f"{place} has {len(str(value))} digits"
