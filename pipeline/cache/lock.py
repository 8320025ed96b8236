"""One writer at a time: a lock on the working folder, which names its holder.

The lock is the operating system's, so a killed process releases it by dying.
"""

import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline import stored_files
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError

_POLL_S = 0.2


@contextlib.contextmanager
def write_lock(
    store: Store,
    *,
    command: str,
    wait_s: float = 0.0,
    on_wait: Callable[[str], None] = lambda _: None,
    stop_asked: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the working folder for writing; wait up to `wait_s` seconds for another process.

    `command` says what this process does, for whoever waits for it. `on_wait` gets one sentence
    when waiting begins, and `stop_asked` returns whether a signal asked to end it.

    Raises:
        Interrupted: A stop was asked for while waiting.
        LockedError: Another process still held it after `wait_s`.
        StoreError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415  (a cached run needs no lock)

    store.prepare()
    lock = FileLock(store.lock_path)
    holder_path = store.lock_path.with_suffix(".json")
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if wait_s:
                on_wait(f"waiting for {_holder(holder_path)}, which is writing to {store.home}")
            lock.acquire(timeout=wait_s, poll_interval=_POLL_S, cancel_check=stop_asked)
    except Timeout as error:
        if stop_asked():
            wrong, remedy = "interrupted while waiting", "repeat the command"
            raise Interrupted("madpipe", wrong, remedy) from error
        wrong = f"another process is writing here ({_holder(holder_path)})"
        remedy = "wait for it, stop it, or give this run a longer run.lock_wait_s"
        raise LockedError(str(store.home), wrong, remedy) from error
    except OSError as error:
        raise store.failure(error) from error
    try:
        record = {"pid": os.getpid(), "host": platform.node(), "command": command}
        with store.io_errors():
            holder_path.write_text(json.dumps(record), encoding="utf-8")
        yield
    finally:
        # A name left behind does no harm: the lock itself is what counts.
        with contextlib.suppress(OSError):
            holder_path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        record = stored_files.loads(stored_files.read_bytes(path))
        return f"process {record['pid']} on {record['host']}: {record['command']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not named itself yet"
