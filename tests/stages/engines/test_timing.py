"""Calls take turns, and warming up goes on until they are steady; no test looks at a clock."""

import gc
from typing import Any

import pytest

from stages.engines import timing


def _nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("names", "repetitions", "order"),
    [
        ("ab", 4, "ab ba ab ba"),
        ("abc", 6, "abc bca cab cba acb bac"),
        ("abcd", 9, "abcd bcda cdab dabc dcba adcb badc cbad abcd"),
    ],
)
def test_calls_take_turns_at_going_first_and_follow_either_neighbour(
    names: str, repetitions: int, order: str
) -> None:
    called: list[str] = []
    calls = [lambda name=name: called.append(name) for name in names]
    times_ms = timing.interleaved(calls, repetitions)
    assert "".join(called) == order.replace(" ", "")
    assert times_ms.shape == (repetitions, len(names))
    assert (times_ms >= 0).all()


def test_a_budget_that_is_spent_ends_the_repetitions_but_not_before_the_fewest() -> None:
    calls = [_nothing, _nothing]
    assert len(timing.interleaved(calls, 300, budget_s=0.0, fewest=5)) == 5
    assert len(timing.interleaved(calls, 3, budget_s=0.0, fewest=5)) == 3
    assert len(timing.interleaved(calls, 6, budget_s=60.0)) == 6
    assert len(timing.interleaved(calls, budget_s=0.0)) == 1


@pytest.mark.parametrize("was_collecting", [True, False])
def test_the_garbage_collector_rests_and_is_then_as_before(*, was_collecting: bool) -> None:
    seen: list[bool] = []
    before = gc.isenabled()
    try:
        (gc.enable if was_collecting else gc.disable)()
        timing.interleaved([lambda: seen.append(gc.isenabled()), _nothing], 2)
        assert gc.isenabled() is was_collecting
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False, False]


def test_the_garbage_collector_is_back_after_an_error() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="broken"):
        timing.interleaved([fail, _nothing], 1)
    assert gc.isenabled()


def test_warming_up_runs_both_at_least_two_windows() -> None:
    counts: dict[str, int] = {"a": 0, "b": 0}

    def counting(name: str) -> Any:
        def call() -> None:
            counts[name] += 1
            sum(range(2000))

        return call

    warmup = timing.warm_up([counting("a"), counting("b")], 0.0)
    assert warmup.seconds > 0
    assert counts["a"] == counts["b"] >= 40
    assert counts["a"] % 20 == 0


def test_calls_that_never_agree_are_measured_in_the_end_and_called_unsteady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "_CAP_S", 0.0)
    monkeypatch.setattr(timing, "_AGREEMENT", -1.0)
    assert not timing.warm_up([_nothing], 0.0).is_steady
