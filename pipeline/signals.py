"""What Ctrl-C, SIGTERM and a closed terminal do: the first asks a run to stop, others end."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

STOPS_WITH_READER = "MADPIPE_STOPS_WITH_READER"
"""The variable that a sweep sets for its jobs: whoever reads their output is gone, so they stop."""
_SAME_REQUEST_S = 3.0
_active: Callable[[], bool] | None = None


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Have SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does.

    Left alone they would end the process with nothing said and an exit code that is not the
    contract's. Handlers that are not the system's own stay. Once one came, those of the moment
    after it count as the same. Outside of the main thread nothing changes.
    """
    requested_s: float | None = None

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        nonlocal requested_s
        now_s = time.monotonic()
        if requested_s is None or now_s - requested_s > _SAME_REQUEST_S:
            requested_s = now_s
            raise KeyboardInterrupt

    numbers = []
    if threading.current_thread() is threading.main_thread():
        wanted = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        numbers = [n for n in wanted if n and signal.getsignal(n) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        requested_s = math.inf  # one that comes now does not keep the rest from being put back
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def ignore_requests() -> None:
    """Have SIGTERM and a closed terminal do nothing from now on, in a process that is ending.

    What it was asked for is done and its exit code is known, but Python takes some tenths of a
    second to take large libraries down, in which a signal would make another code of it.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C, SIGTERM or a closed terminal has asked to stop.

    A signal that comes later than a moment after the first stops at once. Within that moment they
    count as one, since terminals and launchers send the same request several times. The earlier
    handlers are put back at the end. Within another one, that one's function is yielded and its
    handlers stay. Only the main thread may use it.
    """
    global _active  # noqa: PLW0603  (handlers of signals are the whole process's as well)
    if _active is not None:
        yield _active
        return
    requested_s: float | None = None

    def request_stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal requested_s
        now_s = time.monotonic()
        if requested_s is None:
            requested_s = now_s
        elif now_s - requested_s > _SAME_REQUEST_S:
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    # nohup has it ignored, and means that.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    handlers = {number: signal.signal(number, request_stop) for number in numbers}
    _active = lambda: requested_s is not None  # noqa: E731
    try:
        yield _active
    finally:
        _active = None
        requested_s = math.inf  # one that comes now does not keep the rest from being put back
        for number, handler in handlers.items():
            signal.signal(number, handler)
