"""The digest of a file or folder from outside the store, by its bytes.

A folder is read again when what the system says of its files has changed: name, size, time of
writing, and also time of change and number on the disk, which nobody can set back. So a file that
is written anew with equal size and time is seen, and so is another one behind a link. On Windows,
which has no time of change, a time of writing that is set back hides a change of equal size.
"""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from pipeline.cache.digests import DigestCache
from pipeline.cache.users_code import users_code_digests
from pipeline.errors import SettingsFault, StageError
from pipeline.stage import External

_COARSEST_TIME_NS = 2_000_000_000
"""The coarsest times of files in use are those of FAT: 2 s."""


class _File(NamedTuple):
    """What the system says of one file."""

    name: str
    size: int
    written_ns: int
    changed_ns: int
    number: int
    """On its disk (inode)."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def external_digest(external: External, digest_cache: DigestCache) -> str:
    """Return the digest of an outside file's bytes, or of a folder's names and bytes.

    Of a Python file the code counts, with that of the files beside it that it uses. A folder whose
    files the system says to be unchanged since its last digest is not read again.

    Raises:
        SettingsFault: A file that is named as code is no Python.
        StageError: There is nothing at the path.
    """
    path = external.path
    if path.is_file() and path.suffix == ".py":
        try:
            digests = users_code_digests(path, digest_cache)
        except (SyntaxError, ValueError) as error:
            reason = f"{path}: {error}"
            if isinstance(error, SyntaxError):
                reason = f"{error.filename}, line {error.lineno}: {error.msg}"
            key = tuple(external.needed_by.split("."))
            raise SettingsFault([(key, f"is not Python ({reason})", "correct the file")]) from error
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        raise StageError(external.needed_by, f"no such file or folder ({path})", external.remedy)
    return _folder_digest(external, digest_cache)


def _folder_digest(external: External, digest_cache: DigestCache) -> str:
    begin_ns = time.time_ns()
    files = _files(external)
    newest_ns = max((max(file.written_ns, file.changed_ns) for file in files), default=0)
    # A file that is written twice within one tick of its clock looks the same both times.
    is_settled = newest_ns + _COARSEST_TIME_NS < begin_ns

    def read_all() -> dict[str, str]:
        content = hashlib.sha256()
        for file in files:
            is_folder = file.name.endswith("/")
            digest = "" if is_folder else file_sha256(external.path / file.name)
            content.update(_encoded(f"{file.name}\0{digest}\n"))
        return {"digest": content.hexdigest()}

    if not is_settled:
        return read_all()["digest"]
    listing = hashlib.sha256()
    for file in files:
        listing.update(_encoded("\0".join(map(str, file)) + "\n"))
    return str(digest_cache.get("folder", listing.hexdigest(), read_all)["digest"])


def _encoded(text: str) -> bytes:
    """Return the bytes of a text that holds file names, also of those that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _files(external: External) -> list[_File]:
    """Return what the system says of every file that counts, also behind links, in order.

    A folder is there by its name alone, ending in a slash: an empty one may be a class. A million
    images are usual, so this keeps to one system call for a file.
    """
    files = []
    counts = external.counts
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [
        ("", str(external.path), frozenset())
    ]
    while waiting:
        prefix, folder, above = waiting.pop()
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue  # a link to a folder that it lies in
        inside = above | {identity}
        if prefix:
            files.append(_File(prefix, 0, 0, 0, 0))
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir():
                    if counts is None or counts(f"{name}/"):
                        waiting.append((f"{name}/", entry.path, inside))
                elif entry.is_file() and (counts is None or counts(name)):
                    status = entry.stat()
                    files.append(
                        _File(
                            name,
                            status.st_size,
                            status.st_mtime_ns,
                            status.st_ctime_ns,
                            status.st_ino,
                        )
                    )
    return sorted(files, key=lambda file: file.name.split("/"))
