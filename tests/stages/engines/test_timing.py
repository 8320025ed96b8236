"""Calls take turns, and warming up goes on until they are steady; no test looks at a clock."""

import gc
from typing import Any

import pytest

from stages.engines import timing


def _nothing() -> None:
    pass


def test_both_callables_are_called_as_often_and_take_turns_at_going_first() -> None:
    calls: list[str] = []
    times_ms = timing.interleaved([lambda: calls.append("a"), lambda: calls.append("b")], 4)
    assert "".join(calls) == "abbaabba"
    assert times_ms.shape == (4, 2)
    assert (times_ms >= 0).all()


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
    calls: dict[str, int] = {"a": 0, "b": 0}

    def count(name: str) -> Any:
        def call() -> None:
            calls[name] += 1
            sum(range(2000))

        return call

    warm = timing.warm_up([count("a"), count("b")], 0.0)
    assert warm.seconds > 0
    assert calls["a"] == calls["b"] >= 40
    assert calls["a"] % 20 == 0


def test_three_callables_take_every_order_in_turn() -> None:
    calls: list[str] = []
    each = [lambda name=name: calls.append(name) for name in "abc"]
    timing.interleaved(each, 6)
    rounds = {"".join(calls[first : first + 3]) for first in range(0, 18, 3)}
    assert rounds == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_calls_in_turns_are_measured_as_often_as_each_other_and_start_in_turn() -> None:
    order: list[int] = []
    calls = [lambda n=n: order.append(n) for n in range(3)]
    times_ms = timing.in_turns(calls, budget_s=60.0, most=6)
    assert times_ms.shape == (6, 3)
    last = order[-18:]
    assert [last[start] for start in range(0, 18, 3)] == [0, 1, 2, 0, 1, 2]
    assert (times_ms >= 0).all()


def test_calls_that_never_agree_are_measured_in_the_end_and_called_unsteady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "_CAP_S", 0.0)
    monkeypatch.setattr(timing, "_AGREEMENT", -1.0)
    assert not timing.warm_up([_nothing], 0.0).is_steady
