"""A transfer ends when it is to stop or has taken too long, whatever it waits for."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from pipeline.cache import transfers
from pipeline.errors import Interrupted


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own, as those of clients do."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Endless:
    """A transfer whose server never answers."""

    def __init__(self) -> None:
        self.is_waiting, self.is_cancelled = threading.Event(), threading.Event()

    async def run(self) -> None:
        self.is_waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled.set()
            raise


def test_a_stop_ends_what_waits_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    endless = Endless()
    with pytest.raises(Interrupted, match="interrupted; the same command goes on from here"):
        transfers.wait_for(endless.run(), loop, limit_s=600, is_stopping=endless.is_waiting.is_set)
    assert endless.is_cancelled.wait(60)


def test_the_limit_ends_it_too(loop: asyncio.AbstractEventLoop) -> None:
    endless = Endless()
    with pytest.raises(TimeoutError, match="no end within 0 s"):
        transfers.wait_for(endless.run(), loop, limit_s=0.0, is_stopping=lambda: False)


def test_what_a_transfer_raises_comes_through(loop: asyncio.AbstractEventLoop) -> None:
    async def refused() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        transfers.wait_for(refused(), loop, limit_s=60, is_stopping=lambda: False)
