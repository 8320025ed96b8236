"""Ctrl-C and SIGTERM as a request that running code meets when it can do so without loss.

The first signal asks to stop; one that comes later than a moment after it stops at once. Within
that moment they count as one, since terminals and launchers send the same request several times.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

_SAME_REQUEST_S = 3.0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal has asked to stop.

    The earlier handlers are put back at the end. Only the main thread may use it.
    """
    requested_s: float | None = None

    def request_stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal requested_s
        now_s = time.monotonic()
        if requested_s is None:
            requested_s = now_s
        elif now_s - requested_s > _SAME_REQUEST_S:
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, request_stop) for number in numbers}
    try:
        yield lambda: requested_s is not None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
