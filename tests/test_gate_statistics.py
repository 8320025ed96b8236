"""The error rates of the real gates, on simulated runs with a known truth; seeds are fixed.

Each bound on a count is one that a gate at its promised rate exceeds in 1 of 1000 suites.
N = images in the shapes of arrays.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.gates.compare import compare
from pipeline.gates.estimates import drop_estimate, speedup_estimate
from pipeline.gates.judge import verdict_on
from pipeline.gates.measurements import Accuracy, RatioRecord
from pipeline.gates.pairs import ratio_estimate
from pipeline.gates.stored_runs import Run
from pipeline.settings import CompareGate, Gate
from stages.validate.latency_intervals import ratio_record
from tests.measurements import MEASURED, SAMPLES, changed

RUNS = 200
MOST_ALARMS = 21  # of 200 at 5 %: the 99.9th percentile of binomial(200, 0.05)
SPREAD = 0.01


def calls(
    rng: np.random.Generator, slower: float, *, processes: int = 1, repetitions: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return latencies of two networks, noisy, correlated in time, each process with its bias."""
    kicks = rng.normal(0, 0.02, (2, processes, repetitions))
    noise = np.zeros_like(kicks)
    for number in range(1, repetitions):
        noise[..., number] = 0.6 * noise[..., number - 1] + kicks[..., number]
    spikes = rng.random((2, processes, repetitions)) < 0.02
    noise += spikes * rng.exponential(0.5, (2, processes, repetitions))
    noise[0] += rng.normal(0, 0.007, (processes, 1))
    first, second = np.exp(noise)
    return first, second * slower


def speedup(
    rng: np.random.Generator, slower: float, *, processes: int = 1, repetitions: int = 400
) -> RatioRecord:
    """Return the record of one simulated measurement."""
    above, below = calls(rng, slower, processes=processes, repetitions=repetitions)
    return ratio_record(above, below, SPREAD)


def drop_verdict(lost: int, gained: int, n: int, gate: Gate) -> str:
    """Return the verdict of a gate on a paired drop."""
    estimate = drop_estimate(lost, gained, n, gate.confidence)
    return verdict_on("student_top1_drop", gate, estimate).verdict


def speedup_gate(slower: float, *, processes: int, seed: int) -> dict[str, int]:
    """Return how often a gate that wants at least 1 fails, passes or cannot decide."""
    rng = np.random.default_rng(seed)
    counts: dict[str, int] = {}
    for _ in range(RUNS):
        ratio = speedup(rng, slower, processes=processes, repetitions=400 // processes)
        gate = Gate(min=1.0)
        estimate = speedup_estimate(ratio, gate.confidence)
        verdict = verdict_on("speedup", gate, estimate).verdict
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


@pytest.mark.parametrize("processes", [1, 4])
def test_with_nothing_changed_the_latency_gate_seldom_alarms(processes: int) -> None:
    counts = speedup_gate(1.0, processes=processes, seed=1)
    assert counts.get("fail", 0) <= MOST_ALARMS
    assert counts.get("pass", 0) <= MOST_ALARMS


@pytest.mark.parametrize("processes", [1, 4])
def test_an_engine_10_percent_slower_is_caught(processes: int) -> None:
    counts = speedup_gate(1.1, processes=processes, seed=2)
    assert counts.get("fail", 0) >= 0.95 * RUNS


def test_with_nothing_changed_a_comparison_of_two_runs_seldom_alarms() -> None:
    rng = np.random.default_rng(3)
    alarms = caught = 0
    for _ in range(RUNS):
        base, same, slow = (speedup(rng, slower) for slower in (1.0, 1.0, 1.1))
        for head, is_slow in ((same, False), (slow, True)):
            estimate = ratio_estimate(base, head, 0.95)
            failed = verdict_on("latency_ratio", Gate(max=1.0), estimate).verdict == "fail"
            alarms += failed and not is_slow
            caught += failed and is_slow
    assert alarms <= MOST_ALARMS
    assert caught >= 0.95 * RUNS


@pytest.mark.parametrize(("n", "disagree"), [(540, 0.03), (540, 0.10), (5000, 0.01)])
def test_a_student_at_the_margin_seldom_passes_or_fails(n: int, disagree: float) -> None:
    """At a true drop equal to the margin, each decided verdict is wrong half the time or less."""
    rng = np.random.default_rng(4)
    margin = 0.02 if disagree > 0.02 else 0.005
    lost, gained = (disagree + margin) / 2, (disagree - margin) / 2
    counts = {"pass": 0, "fail": 0, "inconclusive": 0}
    for _ in range(RUNS):
        b, c, _ = rng.multinomial(n, [lost, gained, 1 - lost - gained])
        counts[drop_verdict(int(b), int(c), n, Gate(margin=margin))] += 1
    assert counts["pass"] <= MOST_ALARMS
    assert counts["fail"] <= MOST_ALARMS


@pytest.mark.parametrize(("top1", "lost", "gained"), [(0.95, 0.03, 0.01), (0.3, 0.05, 0.02)])
def test_a_relative_loss_at_its_bound_seldom_passes_or_fails(
    top1: float, lost: float, gained: float
) -> None:
    rng = np.random.default_rng(4)
    shares = [top1 - lost, lost, gained, 1 - top1 - gained]
    bounds = {"engine_top1": CompareGate(worse_relative=(lost - gained) / top1)}
    verdicts = []
    for cells in rng.multinomial(540, shares, RUNS):
        hits = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], cells, axis=0)
        base, head = (engine_run(column) for column in hits.T)
        (verdict,) = compare(base, head, bounds)
        verdicts.append(verdict.verdict)
    assert max(verdicts.count("pass"), verdicts.count("fail")) <= MOST_ALARMS


def engine_run(hits_N: NDArray[np.int64]) -> Run:
    """Return a run of an engine that is right on some images, all of class 1."""
    right = Accuracy(
        top1=float(hits_N.mean()),
        hits=int(hits_N.sum()),
        n=hits_N.size,
        calibration=MEASURED.accuracy["engine"].calibration,
        recall=(),
    )
    samples = changed(SAMPLES, labels=[1] * hits_N.size, said={"engine": hits_N.tolist()})
    measured = changed(MEASURED, accuracy={"engine": right})
    return Run(name="a", measurements=measured, samples=samples, teacher_sha256="t", host={})


def test_a_student_that_lost_much_more_than_the_margin_fails() -> None:
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(RUNS):
        b, c, _ = rng.multinomial(540, [0.10, 0.01, 0.89])
        failed += drop_verdict(int(b), int(c), 540, Gate(margin=0.03)) == "fail"
    assert failed >= 0.95 * RUNS
