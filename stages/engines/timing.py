"""Latency of several callables, measured in turns.

One clock for all backends: host time around a call that returns when its result is there.
Calls alternate, and so does their order, so that drift and other load meet all of them alike.
"""

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]

_WINDOW = 20
_AGREEMENT = 0.10
_CAP_S = 10.0
_SHORT_WARMUP_S = 0.2
_FEWEST_ROUNDS = 5


class WarmUp(NamedTuple):
    """How measuring began."""

    seconds: float
    is_steady: bool
    """Whether the last two windows agreed; if not, the time was up."""


def warm_up(calls: Sequence[Call], least_s: float) -> WarmUp:
    """Run all for at least `least_s`, and on until two windows of each agree within 10 %."""
    begin_s = time.perf_counter()
    before = np.full(len(calls), np.inf)
    while True:
        window = np.median(interleaved(calls, _WINDOW), axis=0)
        spent_s = time.perf_counter() - begin_s
        is_steady = bool((np.abs(window - before) <= _AGREEMENT * window).all())
        if spent_s >= least_s and (is_steady or spent_s >= _CAP_S):
            return WarmUp(spent_s, is_steady)
        before = window


def interleaved(calls: Sequence[Call], rounds: int) -> NDArray[np.float64]:
    """Return milliseconds of shape (rounds, calls); every order of the calls takes its turn."""
    times_ms = np.empty((rounds, len(calls)))
    orders = itertools.cycle(itertools.permutations(range(len(calls))))
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        for number, order in zip(range(rounds), orders, strict=False):
            for column in order:
                call = calls[column]
                begin_ns = time.perf_counter_ns()
                call()
                times_ms[number, column] = (time.perf_counter_ns() - begin_ns) / 1e6
    finally:
        if was_collecting:
            gc.enable()
    return times_ms


def in_turns(calls: Sequence[Call], *, budget_s: float, most: int) -> NDArray[np.float64]:
    """Return milliseconds of shape (rounds, calls), after as many rounds to warm up as fit 0.2 s.

    Each round runs every call once, from another first one, until time or `most` rounds are over.
    """
    begin_s = time.perf_counter()
    while time.perf_counter() - begin_s < _SHORT_WARMUP_S:
        for call in calls:
            call()
    rows: list[list[float]] = []
    begin_s = time.perf_counter()
    while len(rows) < most and (
        len(rows) < _FEWEST_ROUNDS or time.perf_counter() - begin_s < budget_s
    ):
        row = [0.0] * len(calls)
        for step in range(len(calls)):
            column = (len(rows) + step) % len(calls)
            begin_ns = time.perf_counter_ns()
            calls[column]()
            row[column] = (time.perf_counter_ns() - begin_ns) / 1e6
        rows.append(row)
    return np.array(rows)
