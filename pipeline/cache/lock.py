"""One writer at a time: a lock on the working folder that says who holds it.

The lock is the operating system's, so a killed process lets go of it by dying.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.cache.store import Store
from pipeline.errors import LockedError

_POLL_S = 0.2


@contextlib.contextmanager
def writing(
    store: Store,
    *,
    wait_s: float,
    command: str,
    tell: Callable[[str], None],
    stop: Callable[[], None],
) -> Iterator[None]:
    """Hold the working folder for writing.

    Args:
        store: The working folder.
        wait_s: How long to wait for another process.
        command: What this process does, for whoever waits for it.
        tell: Gets one sentence when waiting begins.
        stop: Called while waiting; raises when a signal asked to stop.

    Raises:
        LockedError: Another process still held it after `wait_s`.
        StoreError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  (a cached run needs no lock)

    store.prepare()
    lock = FileLock(store.lock_path)
    holder_path = store.lock_path.with_suffix(".json")
    begin_s = time.monotonic()
    told = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout as error:
            holder = _holder(holder_path)
            if time.monotonic() - begin_s >= wait_s:
                raise LockedError(
                    str(store.home),
                    f"another process is writing here ({holder})",
                    "wait for it, stop it, or give this run a longer run.lock_wait_s",
                ) from error
            if not told:
                tell(f"waiting for {holder}, which is writing to {store.home}")
                told = True
            stop()
            time.sleep(_POLL_S)
        except OSError as error:
            raise store.failure(error) from error
    try:
        record = {"pid": os.getpid(), "host": platform.node(), "command": command}
        try:
            holder_path.write_text(json.dumps(record), encoding="utf-8")
        except OSError as error:
            raise store.failure(error) from error
        yield
    finally:
        # A name left behind does no harm: the lock itself is what counts.
        with contextlib.suppress(OSError):
            holder_path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return f"process {record['pid']} on {record['host']}: {record['command']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not named itself yet"
