"""Waiting for a transfer that a client runs on a thread of its own, without being held by it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any

from pipeline.errors import Interrupted

_POLL_S = 0.2


def wait_for(
    transfer: Coroutine[Any, Any, Any],
    loop: asyncio.AbstractEventLoop,
    *,
    limit_s: float,
    is_stopping: Callable[[], bool],
) -> None:
    """Run a transfer on the loop of its client, and wait for its end.

    What it waits for may never come: a stop ends it all the same, and so does the limit.

    Raises:
        Interrupted: It is to stop.
        TimeoutError: It did not end within the limit.
    """
    future = asyncio.run_coroutine_threadsafe(transfer, loop)
    end_s = time.monotonic() + limit_s
    try:
        while not futures.wait([future], _POLL_S).done:
            check(is_stopping)
            if time.monotonic() > end_s:
                message = f"no end within {limit_s:.0f} s"
                raise TimeoutError(message)
    finally:
        future.cancel()
    future.result()


def check(is_stopping: Callable[[], bool]) -> None:
    """Raise Interrupted where a transfer is to stop."""
    if is_stopping():
        raise Interrupted("madpipe", "interrupted", "the same command goes on from here")
