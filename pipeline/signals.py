"""Ctrl-C and SIGTERM as a question that running code answers when it can do so without loss.

The first signal asks to stop; one that comes later than a moment after it stops at once. Within
that moment they count as one, since terminals and launchers send the same wish several times.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

_ONE_WISH_S = 3.0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal has asked to stop.

    The handlers before are put back at the end. Only the main thread may use it.
    """
    asked_s: float | None = None

    def ask(_signum: int, _frame: FrameType | None) -> None:
        nonlocal asked_s
        now_s = time.monotonic()
        if asked_s is None:
            asked_s = now_s
        elif now_s - asked_s > _ONE_WISH_S:
            raise KeyboardInterrupt

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked_s is not None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
