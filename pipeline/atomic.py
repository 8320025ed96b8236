"""Writing a file so that it is there whole or not at all, also after a power cut."""

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

_COPIED_BYTES = 1 << 20


WITHOUT_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where a disk, or a user's share of it, is full."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a file beside it and one rename; as it is to a pipe.

    Raises:
        OSError: The folder is read-only or the disk is full; `path` is as it was, and is named.
    """
    with naming(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)  # a device or a pipe is not replaced
            return
        # Processes in containers can share a folder and the number of a process.
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
        with removed_on_failure(part):
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file.

    Raises:
        OSError: `source` cannot be opened, or `target` cannot be written and is named.
    """
    with source.open("rb") as file, naming(target), target.open("wb") as copied:
        shutil.copyfileobj(file, copied, _COPIED_BYTES)


def replace_folder(new: Path, path: Path, *, aside: Path) -> None:
    """Move a folder to where there may be another, which is moved aside and stays there.

    Raises:
        OSError: It cannot be moved; what was there before is there again, and is named.
    """
    with naming(path):
        if aside.exists():
            shutil.rmtree(aside)
        if not path.exists():
            new.rename(path)
            return
        path.rename(aside)
        try:
            new.rename(path)
        except OSError:
            aside.rename(path)
            raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a failure to write a file name that file.

    The system's own names the file beside it that was to be renamed, or for a write none at all.

    Raises:
        OSError: The same with `path` as its file name.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextlib.contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a folder of its own, in `parent` or the system's folder for such, and remove it.

    Raises:
        OSError: It cannot be made, or not be removed and is named: the system's error names a file
            within it. Where what was done in it failed, that is what is raised.
    """
    folder = Path(tempfile.mkdtemp(prefix="madpipe-", dir=parent))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    with naming(folder):
        shutil.rmtree(folder)


@contextlib.contextmanager
def removed_on_failure(part: Path) -> Iterator[None]:
    """Remove a half-written file where it did not come to be the whole one."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # what failed before is what is to be said
            part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, durable where the system can.

    Raises:
        OSError: They are not; `path` is named.
    """
    if os.name != "posix":
        return
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_lasting(path: Path, content: bytes) -> None:
    """Write a file as `write_bytes` does, so that no power cut after it brings back the old one.

    For what no other run makes anew; it costs the disk another wait.

    Raises:
        OSError: The folder is read-only or the disk is full; `path` is old or new, and is named.
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
