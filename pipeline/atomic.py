"""Writing a file so that it is there whole or not at all, also after a power cut."""

import os
import uuid
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a file beside it and one rename; as it is to a pipe.

    Raises:
        OSError: The folder is read-only or the disk is full; `path` is as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)  # a device or a pipe is not replaced
        return
    # Processes in containers can share a folder and the number of a process.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
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


def write_lasting(path: Path, content: bytes) -> None:
    """Write a file as `write_bytes` does, so that no power cut after it brings back the old one.

    For what no other run makes anew; it costs the disk another wait.

    Raises:
        OSError: The folder is read-only or the disk is full; `path` is old or new.
    """
    write_bytes(path, content)
    sync(path.parent)


def make_folders(path: Path) -> None:
    """Make a folder and those above it that are missing, so that no power cut takes their names.

    Raises:
        OSError: One cannot be made.
    """
    if path.is_dir():
        return
    make_folders(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)
