"""Writing a file so that it is there whole or not at all, also after a power cut."""

import os
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a file beside it and one rename; as it is to a pipe.

    Raises:
        OSError: The folder is read-only or the disk is full; `path` is as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)  # a device or a pipe is not replaced
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # Ctrl-C as well
        part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, durable where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
