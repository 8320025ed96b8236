"""From what a combination left in the store to its row: figures, loss, cost and verdicts."""

from collections.abc import Mapping

from msgspec.structs import replace

from pipeline.cache.entry import Entry
from pipeline.gates import intervals
from pipeline.gates.estimates import Estimate, drop_estimate, estimate
from pipeline.gates.judge import judge
from pipeline.gates.measurement_files import read
from pipeline.gates.measurements import Measurements, Samples
from pipeline.project import DISTILL, MEASUREMENTS, VALIDATE
from pipeline.settings import Settings
from pipeline.sweep.combinations import Combination
from pipeline.sweep.pareto import obstacles
from pipeline.sweep.records import CONFIDENCE, Bounded, Loss, Row

_SAMPLES = "samples"
_TEACHER = "teacher"
_NETWORKS = ("engine", "student")
"""Whose loss counts: of the engine, which is what will run, else of the student."""


def unfinished_row(combination: Combination) -> Row:
    """Return the row of a combination that a stop left unfinished."""
    error = "unfinished; the same command goes on from here"
    return _row(combination, state="unfinished", error=error)


def failed_row(combination: Combination, error: str) -> Row:
    """Return the row of a combination that failed."""
    return _row(combination, state="failed", error=error)


def finished_row(combination: Combination, stage: str, entries: Mapping[str, Entry]) -> Row:
    """Return the row of a combination whose stages are all stored, up to `stage`.

    Raises:
        StoreError: The stored measurements are damaged or of another schema.
    """
    row = _row(
        combination,
        state="done",
        seconds=round(sum(entry.record.seconds for entry in entries.values()), 1),
        figures=entries[stage].record.metrics,
        params=entries[DISTILL].record.metrics.get("params") if DISTILL in entries else None,
    )
    is_judged = stage == VALIDATE
    if is_judged:
        row = _measured(row, entries[VALIDATE], combination.project.settings)
    return replace(row, obstacles=obstacles(row, is_judged=is_judged))


def _row(combination: Combination, **fields: object) -> Row:
    return Row(number=combination.number, changes=combination.changes, **fields)  # type: ignore[arg-type]


def _measured(row: Row, validate: Entry, settings: Settings) -> Row:
    measured = read(validate.output(MEASUREMENTS), Measurements)
    has_samples = _SAMPLES in validate.record.outputs
    samples = read(validate.output(_SAMPLES), Samples) if has_samples else None
    latency = measured.latency
    return replace(
        row,
        loss=loss_of(measured, samples),
        latency_ms=_bounded(estimate("engine_p50_ms", measured, CONFIDENCE)),
        speedup=_bounded(estimate("speedup", measured, CONFIDENCE)),
        noise=latency.headline.engine.causes if latency else (),
        engine_bytes=measured.engine_bytes,
        engine=f"{measured.engine.backend} {measured.engine.precision}",
        gates=tuple(judge(measured, settings.gates)),
    )


def _bounded(measured: Estimate | None) -> Bounded | None:
    if measured is None:
        return None
    return Bounded(value=measured.value, low=measured.bounds.low, high=measured.bounds.high)


def loss_of(measured: Measurements, samples: Samples | None) -> Loss | None:
    """Return what the engine, else the student, lost against the teacher, None where unknown.

    The engine's drop against the teacher is no measure of the gates, which bound each step by
    itself: it is counted here from the predictions on the labelled images.
    """
    for network in _NETWORKS:
        counts = _lost_and_gained(network, measured, samples)
        if counts is not None:
            drop = drop_estimate(*counts, CONFIDENCE)
            return _loss(drop, "top1_drop", network, measured)
        if share := measured.bank_agreement.get(network):
            bounds = intervals.share_bounds(share.n - share.hits, share.n, CONFIDENCE)
            different = Estimate(1 - share.hits / share.n, bounds, share.n, None)
            return _loss(different, "bank_disagreement", network, measured)
    return None


def _loss(loss: Estimate, kind: str, network: str, measured: Measurements) -> Loss:
    return Loss(
        value=loss.value,
        low=loss.bounds.low,
        high=loss.bounds.high,
        kind=kind,  # type: ignore[arg-type]
        network=network,
        n=loss.n,
        images=measured.dataset.id,
    )


def _lost_and_gained(
    network: str, measured: Measurements, samples: Samples | None
) -> tuple[int, int, int] | None:
    """Return on how many images only the teacher and only the network is right, and of how many."""
    paired = measured.paired.get(network)
    if paired is not None and paired.reference == _TEACHER:
        return paired.lost, paired.gained, paired.n
    if paired is None or samples is None or samples.labels is None:
        return None
    if not {_TEACHER, network} <= samples.predictions.keys():
        return None
    pairs = [
        (teacher == label, predicted == label)
        for teacher, predicted, label in zip(
            samples.predictions[_TEACHER],
            samples.predictions[network],
            samples.labels,
            strict=True,
        )
    ]
    return pairs.count((True, False)), pairs.count((False, True)), len(pairs)
