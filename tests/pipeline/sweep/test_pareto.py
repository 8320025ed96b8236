"""Which combinations are on a front, which is the smallest that passes, and the exit code."""

from itertools import product

import pytest

from pipeline.gates.judge import Verdict
from pipeline.sweep import pareto
from pipeline.sweep.records import Row
from tests.pipeline.sweep.rows import gate, row


def test_a_point_is_on_the_front_unless_another_is_as_good_in_both() -> None:
    points = [(0.1, 3.0), (0.2, 2.0), (0.2, 2.5), (0.3, 2.0), (0.4, 1.0), (0.4, 1.0)]
    assert pareto.front(points) == [True, True, False, False, True, True]


def test_every_point_off_the_front_has_one_on_it_that_dominates_it() -> None:
    points = [(float(a * 7 % 5), float(b * 3 % 4)) for a, b in product(range(5), range(4))]
    is_on = pareto.front(points)
    best = [point for point, is_best in zip(points, is_on, strict=True) if is_best]
    for point, is_best in zip(points, is_on, strict=True):
        dominated = any(b != point and b[0] <= point[0] and b[1] <= point[1] for b in best)
        assert dominated is not is_best


def test_fronts_of_latency_and_bytes_differ() -> None:
    rows = [row(1, drop=0.1, ms=2.0, size=500), row(2, drop=0.2, ms=1.0, size=900)]
    fronts = [entry.fronts for entry in pareto.with_fronts(rows)]
    assert fronts == [("latency", "bytes"), ("latency",)]


def test_what_was_not_measured_is_on_no_front() -> None:
    rows = [row(1), row(2, state="failed"), row(3, drop=0.01, ms=None, size=10)]
    fronts = [entry.fronts for entry in pareto.with_fronts(rows)]
    assert fronts == [("latency",), (), ("bytes",)]


def test_losses_on_other_images_make_no_front() -> None:
    rows = [row(1), row(2, images="b")]
    assert [entry.fronts for entry in pareto.with_fronts(rows)] == [(), ()]
    assert "different images" in str(pareto.why_incomparable(rows))


def test_the_smallest_has_the_fewest_bytes_of_equal_ones_the_lowest_latency() -> None:
    rows = [row(1, size=900, ms=0.1), row(2, size=500, ms=2.0), row(3, size=500, ms=1.0)]
    smallest = pareto.smallest(rows)
    assert smallest is not None
    assert smallest.number == 3


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "skipped"])
def test_a_gate_that_has_not_passed_is_an_obstacle(verdict: str) -> None:
    (smaller, larger) = (row(1, size=10, gates=(gate(verdict),)), row(2))  # type: ignore[arg-type]
    assert smaller.obstacles == (f"student_top1_drop {verdict}: because",)
    assert pareto.smallest([smaller, larger]) == larger


def test_a_gate_that_only_warns_is_none() -> None:
    only = row(1, gates=(gate("pass"), gate("fail", "speedup", warns=True)))
    assert only.is_admissible


def test_without_gates_or_judging_nothing_is_admissible() -> None:
    assert row(1, gates=()).obstacles == ("nothing was judged: the settings have no gates",)
    assert "--to validate" in pareto.obstacles(row(1), is_judged=False)[0]


_FAILED, _OPEN, _PASSED = (gate("fail"),), (gate("inconclusive"),), (gate("pass"),)


@pytest.mark.parametrize(
    ("gates", "code"),
    [
        ([_PASSED, _FAILED], 0),
        ([_FAILED, _FAILED], 3),
        ([_FAILED, _OPEN], 4),
        ([(gate("fail", warns=True), *_OPEN)], 4),
        ([(), ()], 0),
    ],
)
def test_the_exit_code_says_whether_any_passes(gates: list[tuple[Verdict, ...]], code: int) -> None:
    rows: list[Row] = [row(number, gates=own) for number, own in enumerate(gates, start=1)]
    assert pareto.exit_code(rows, is_judged=True) == code
    assert pareto.exit_code([*rows, row(9, state="failed")], is_judged=True) == 1
    assert pareto.exit_code(rows, is_judged=False) == 0
