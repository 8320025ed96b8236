"""The operating system's lock on a file, and none that is weaker in its place."""

import contextlib
import errno
import warnings
from collections.abc import Callable
from pathlib import Path

_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


class NoLocksError(OSError):
    """A file system, or the way it is mounted, has no locks."""


def try_lock(path: Path) -> Callable[[], None] | None:
    """Take the lock of a file, which is made; return what releases it, None where it is held.

    A process that dies releases it.

    Raises:
        NoLocksError: The file system of `path` has none.
        OSError: The file cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout  # noqa: PLC0415  (a cached run needs none)

    # Where a file system has no locks filelock takes a file's existence for one, which a killed
    # process leaves behind; older versions of it cannot be told not to.
    is_told = hasattr(FileLock, "fallback_to_soft")
    lock = FileLock(path, fallback_to_soft=False) if is_told else FileLock(path)
    is_ours = False
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            is_ours = True
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            raise NoLocksError(error.errno, error.strerror, str(path)) from error
        raise
    if issubclass(type(lock), SoftFileLock):
        if is_ours:
            lock.release()
        raise NoLocksError(errno.ENOSYS, "Function not implemented", str(path))
    return lock.release if is_ours else None
