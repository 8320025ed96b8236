"""What Ctrl-C, SIGTERM and a closed terminal do to a run: the first asks it to stop."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

_SAME_REQUEST_S = 3.0
_active: Callable[[], bool] | None = None


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
        for number, handler in handlers.items():
            signal.signal(number, handler)
