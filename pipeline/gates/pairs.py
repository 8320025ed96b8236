"""What two runs say together: images that both saw, and latencies with the teacher between them.

Accuracy is paired where both saw the same images. Latencies of two sessions are never paired: a
machine's speed wanders by more between them than a gate allows. But each session measured its
engine in turns with the teacher, so where teacher and machine are the same, the ratio of the two
speed-ups cancels what the sessions differ in.
"""

import math
from collections.abc import Sequence

from pipeline.gates.estimates import Absent, Estimate, drop_estimate, speedup_estimate
from pipeline.gates.intervals import Bounds
from pipeline.gates.measurements import BatchLatency, Latency, RatioRecord
from pipeline.gates.stored_runs import Run

_SAME_MACHINE = ("cpu", "cores", "gpu0")
_OTHER_TEACHERS = "the teachers differ, so nothing measured in both runs ties them together"
_OTHER_IMAGES = "the two runs saw other images, so their predictions are no pairs"


def paired_drop(network: str, base: Run, head: Run, confidence: float) -> Estimate | Absent:
    """Return A's top-1 less B's of a network, on the same images."""
    for run in (base, head):
        if run.samples.labels is None or network not in run.samples.predictions:
            return Absent(f"{run.name} measured no accuracy of the {network}")
    if base.samples.dataset.id != head.samples.dataset.id:
        return Absent(_OTHER_IMAGES)
    labels = base.samples.labels or ()
    before, after = (run.samples.predictions[network] for run in (base, head))
    hits = [
        (first == label, second == label)
        for label, first, second in zip(labels, before, after, strict=True)
    ]
    return _drop(hits, confidence)


def paired_agreement_drop(
    network: str, kind: str, base: Run, head: Run, confidence: float
) -> Estimate | Absent:
    """Return A's agreement with the teacher less B's, on the same images of a kind."""
    if why := other_teacher(base, head):
        return why
    for run in (base, head):
        if run.samples.dataset.kind != kind or network not in run.samples.predictions:
            return Absent(f"{run.name} measured no agreement of the {network} on {kind} images")
    if base.samples.dataset.id != head.samples.dataset.id:
        return Absent(_OTHER_IMAGES)
    hits = zip(*(_agreements(network, run) for run in (base, head)), strict=True)
    return _drop(list(hits), confidence)


def _agreements(network: str, run: Run) -> list[bool]:
    predictions = run.samples.predictions
    pairs = zip(predictions[network], predictions["teacher"], strict=True)
    return [network_class == teacher_class for network_class, teacher_class in pairs]


def _drop(hits: Sequence[tuple[bool, bool]], confidence: float) -> Estimate:
    lost = sum(first and not second for first, second in hits)
    gained = sum(second and not first for first, second in hits)
    return drop_estimate(lost, gained, len(hits), confidence)


def latency_ratio(base: Run, head: Run, confidence: float) -> Estimate | Absent:
    """Return B's engine latency over A's, each against the teacher measured beside it."""
    batches = tied_batches(base, head)
    if isinstance(batches, Absent):
        return batches
    before, after = batches
    return ratio_estimate(before.speedup, after.speedup, confidence)


def tied_batches(
    base: Run, head: Run, *, is_largest: bool = False
) -> tuple[BatchLatency, BatchLatency] | Absent:
    """Return the latencies of both runs at the headline's batch size, or at the largest.

    Or why nothing ties them together: another teacher, machine or way of measuring.
    """
    if why := other_teacher(base, head) or other_machine(base, head):
        return why
    versions = [run.host.get("torch") for run in (base, head)]
    if all(versions) and versions[0] != versions[1]:
        seen = f"{versions[0]}, {versions[1]}"
        return Absent(f"the teacher ran in different versions of torch ({seen})")
    first, second = base.measurements.latency, head.measurements.latency
    if first is None or second is None:
        return Absent("a run measured no latency")
    before, after = (_batch(latency, is_largest=is_largest) for latency in (first, second))
    for condition, of_base, of_head in (
        ("batch", before.batch, after.batch),
        ("threads", first.threads, second.threads),
        ("device", first.device, second.device),
    ):
        if of_base != of_head:
            return Absent(f"measured with another {condition} ({of_base}, {of_head})")
    return before, after


def other_teacher(base: Run, head: Run) -> Absent | None:
    """Return why the teachers of two runs are not the same, None where they are."""
    if base.teacher_sha256 != head.teacher_sha256:
        return Absent(_OTHER_TEACHERS)
    if not base.teacher_sha256:
        return Absent("neither run says which teacher it had")
    return None


def other_machine(base: Run, head: Run) -> Absent | None:
    """Return why the machines of two runs are not the same, None where they are."""
    for fact in _SAME_MACHINE:
        before, after = base.host.get(fact), head.host.get(fact)
        if before != after:
            return Absent(f"measured on different machines ({fact}: {before}, {after})")
    return None


def _batch(latency: Latency, *, is_largest: bool) -> BatchLatency:
    return max(latency.batches, key=lambda b: b.batch) if is_largest else latency.headline


def ratio_estimate(base: RatioRecord, head: RatioRecord, confidence: float) -> Estimate:
    """Return B's latency over A's from the speed-up of each, with bounds."""
    first, second = (speedup_estimate(ratio, confidence) for ratio in (base, head))
    return ratio_of([first], [second])


def ratio_of(above: Sequence[Estimate], below: Sequence[Estimate]) -> Estimate:
    """Return the product of some estimates over that of others, all positive, with bounds.

    The logarithms are taken as independent, so their reaches add in quadrature; of figures that
    one session measured in turns, which move together, that is wider than need be.
    """
    value = math.prod(e.value for e in above) / math.prod(e.value for e in below)
    every = (*above, *below)

    def reaches(estimate: Estimate, times: float) -> tuple[float, float]:
        assert estimate.with_samples is not None
        low, high = estimate.with_samples(times)
        return math.log(estimate.value / low), math.log(high / estimate.value)

    def bounds(times: float) -> Bounds:
        falls_and_rises = [reaches(estimate, times) for estimate in above]
        falls_and_rises += [reaches(estimate, times)[::-1] for estimate in below]
        down, up = (math.hypot(*parts) for parts in zip(*falls_and_rises, strict=True))
        return Bounds(value * math.exp(-down), value * math.exp(up))

    return Estimate(
        value,
        bounds(1),
        min(estimate.n for estimate in every),
        bounds,
        min(estimate.processes for estimate in every),
        is_held=any(estimate.is_held for estimate in every),
    )
