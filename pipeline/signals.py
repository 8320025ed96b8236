"""Ctrl-C and SIGTERM as a question that running code answers when it can do so without loss.

The first signal asks to stop; the second stops at once.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal has asked to stop.

    The handlers before are put back at the end. Only the main thread may use it.
    """
    asked = False

    def ask(signum: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.signal(signum, signal.SIG_DFL)
            raise KeyboardInterrupt
        asked = True

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
