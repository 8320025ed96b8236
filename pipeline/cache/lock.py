"""One writer at a time: a lock on the working folder, which names its holder.

The lock is the operating system's, so a killed process releases it by dying.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.atomic import WITHOUT_ROOM, naming
from pipeline.cache import leftovers, lock_holder
from pipeline.cache.lock_holder import Holder
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError, StoreError
from pipeline.file_lock import NoLocksError, try_lock

_POLL_S = 0.2
_REACH = "let one machine at a time use this folder, or mount it with locks that reach all of them"


@contextlib.contextmanager
def write_lock(
    store: Store,
    *,
    command: str,
    wait_s: float = 0.0,
    on_wait: Callable[[str], None] = lambda _: None,
    stop_asked: Callable[[], bool] = lambda: False,
    on_unnamed: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the working folder for writing; wait up to `wait_s` seconds for another process.

    `command` says what this process does, for whoever waits for it. `on_wait` gets one sentence
    when waiting begins, and `stop_asked` returns whether a signal asked to end it. `on_unnamed` is
    for what makes room: where the disk has none for the name of this process it gets one sentence,
    and the folder is held without.

    Raises:
        Interrupted: A stop was asked for while waiting.
        LockedError: Another process still held it after `wait_s`, or holds it on a machine that
            the lock does not reach.
        StoreError: The folder cannot be written, has no locks, or was written by another process
            in the meantime.
    """
    store.prepare()
    holder_path = store.lock_path.with_suffix(".json")
    release = _acquired(store, holder_path, wait_s, on_wait, stop_asked)
    try:
        _check_left_name(store, holder_path, on_wait, stop_asked)
        with contextlib.ExitStack() as on:
            with store.io_errors(), naming(holder_path):
                other = _name_holder(on, holder_path, command, on_unnamed)
            leftovers.remove(store)
            yield
            if (intruder := other()) is not None:
                wrong = f"another process wrote here at the same time ({intruder})"
                remedy = f"{_REACH}, then madpipe cache verify"
                raise StoreError(str(store.home), wrong, remedy)
    finally:
        release()


def _name_holder(
    on: contextlib.ExitStack,
    holder_path: Path,
    command: str,
    on_unnamed: Callable[[str], None] | None,
) -> Callable[[], Holder | None]:
    """Name this process while `on` lasts; return what tells of another that named itself.

    Raises:
        OSError: The name cannot be written.
    """
    try:
        return on.enter_context(lock_holder.named(holder_path, Holder.here(command)))
    except OSError as error:
        if on_unnamed is None or error.errno not in WITHOUT_ROOM:
            raise
        holder_path.unlink(missing_ok=True)  # it was made, and is empty
        on_unnamed(f"{holder_path}: no room to name this process for others ({error.strerror})")
    return lambda: lock_holder.read(holder_path)


def _acquired(
    store: Store,
    holder_path: Path,
    wait_s: float,
    on_wait: Callable[[str], None],
    stop_asked: Callable[[], bool],
) -> Callable[[], None]:
    """Wait for the lock; return what releases it."""
    begin_s, is_said = time.monotonic(), False
    while (release := _tried(store)) is None:
        if stop_asked():
            raise _interrupted()
        if time.monotonic() - begin_s >= wait_s:
            holder = lock_holder.read(holder_path)
            wrong = f"another process is writing here ({_text(holder)})"
            raise LockedError(str(store.home), wrong, _remedy(holder))
        if not is_said:
            is_said = True
            text = _text(lock_holder.read(holder_path))
            on_wait(f"waiting for {text}, which is writing to {store.home}")
        time.sleep(min(_POLL_S, wait_s))
    return release


def _tried(store: Store) -> Callable[[], None] | None:
    try:
        return try_lock(store.lock_path)
    except NoLocksError as error:
        wrong = f"its file system has no locks that keep two writers apart ({error.strerror})"
        remedy = (
            "mount it with locks, or use a folder on another disk (MADPIPE_HOME; "
            "a shared cache needs no locks as file://)"
        )
        raise StoreError(str(store.lock_path), wrong, remedy) from error
    except OSError as error:
        raise store.failure(error) from error


def _check_left_name(
    store: Store,
    holder_path: Path,
    on_wait: Callable[[str], None],
    stop_asked: Callable[[], bool],
) -> None:
    """Make sure that who is named beside the lock, which this process holds, does not run.

    On this machine the lock itself shows that.

    Raises:
        Interrupted: A stop was asked for while looking.
        LockedError: It runs: the lock does not reach it.
    """
    left = lock_holder.read(holder_path)
    if left is None or not left.is_elsewhere:
        return
    on_wait(f"looking for {lock_holder.SILENCE_S:.0f} s whether {left} still runs")
    if not lock_holder.runs(holder_path, left, stop_asked):
        return
    if stop_asked():
        raise _interrupted()
    wrong = f"another process is writing here, which the lock does not reach ({left})"
    raise LockedError(str(store.home), wrong, f"wait for it, or stop it there; {_REACH}")


def _interrupted() -> Interrupted:
    return Interrupted("madpipe", "interrupted while waiting", "repeat the command")


def _text(holder: Holder | None) -> str:
    return str(holder) if holder else "a process that has not named itself yet"


def _remedy(holder: Holder | None) -> str:
    if holder is None or not holder.is_elsewhere:
        return "wait for it, stop it, or give this run a longer run.lock_wait_s"
    return (
        f"wait for it, stop it on {holder.host}, or give this run a longer run.lock_wait_s "
        "(of a machine that is off, the file server lets the lock go after a while)"
    )
