"""Latency of several calls, measured in turns: the one scheduler for build and validate.

One clock for all backends: host time around a call that returns when its result is there.
Calls alternate, and so does their order, so that drift and other load meet all of them alike.
"""

import gc
import itertools
import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.gates.measurements import WarmUp

Call = Callable[[], object]

_WINDOW = 20
_AGREEMENT = 0.10
_CAP_S = 10.0


def warm_up(calls: Sequence[Call], least_s: float) -> WarmUp:
    """Run all for at least `least_s`, and on until two windows of each agree within 10 %.

    After 10 seconds more is not tried; the record then says that they are not steady.
    """
    begin_s = time.perf_counter()
    before_ms = np.full(len(calls), np.inf)
    while True:
        window_ms = np.median(interleaved(calls, _WINDOW), axis=0)
        spent_s = time.perf_counter() - begin_s
        is_steady = bool((np.abs(window_ms - before_ms) <= _AGREEMENT * window_ms).all())
        if spent_s >= least_s and (is_steady or spent_s >= _CAP_S):
            return WarmUp(seconds=spent_s, is_steady=is_steady)
        before_ms = window_ms


def interleaved(
    calls: Sequence[Call],
    repetitions: int | None = None,
    *,
    budget_s: float = math.inf,
    fewest: int = 1,
    on_repetition: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float64]:
    """Return milliseconds of shape (repetitions, calls).

    Each repetition makes every call once. The order goes through all rotations and their mirror
    images, so that every call is first as often as any other, and follows either neighbour.
    Once `fewest` repetitions are done, none begins after `budget_s`; `repetitions` are the most,
    None: as many as fit the budget. `on_repetition` is called with how many are done.
    """
    columns = list(range(len(calls)))
    rotations = [(*columns[first:], *columns[:first]) for first in columns]
    orders = itertools.cycle(dict.fromkeys([*rotations, *(order[::-1] for order in rotations)]))
    most = math.inf if repetitions is None else repetitions
    rows_ms: list[list[float]] = []
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        begin_s = time.perf_counter()
        while len(rows_ms) < most and (
            len(rows_ms) < fewest or time.perf_counter() - begin_s < budget_s
        ):
            row_ms = [0.0] * len(calls)
            for column in next(orders):
                call = calls[column]
                begin_ns = time.perf_counter_ns()
                call()
                row_ms[column] = (time.perf_counter_ns() - begin_ns) / 1e6
            rows_ms.append(row_ms)
            on_repetition(len(rows_ms))
    finally:
        if was_collecting:
            gc.enable()
    return np.array(rows_ms).reshape(len(rows_ms), len(calls))
