"""The key of a stage: a document of all that decides its result, and the digest of it.

The document is stored with the entry, so that `why` is a comparison of two documents. Inputs
count by their bytes, not by how they came about: a stage that runs anew and leaves the same
bytes stops the change there.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from pipeline import machine
from pipeline.cache.digests import DigestCache, code_digests, file_digests
from pipeline.errors import SettingsFault, StageError
from pipeline.settings import Settings
from pipeline.stage import External, Stage

KEY_SCHEMA = 1
ABSENT = "(absent)"
_DIGEST_DIGITS = 64

KeyDocument = dict[str, Any]
"""What `key_document` returns, and what is read again from a stored entry."""


def key_document(
    stage: Stage, settings: Settings, inputs: Mapping[str, str], digest_cache: DigestCache
) -> KeyDocument:
    """Return the document whose digest is the key of `stage`.

    `inputs` holds the sha256 of the bytes of each declared input. Of `settings` only the declared
    slices count.
    """
    values = json.loads(json.dumps(dict(stage.values)))
    slices = {name: msgspec.to_builtins(attrgetter(name)(settings)) for name in stage.settings}
    return {
        "schema": KEY_SCHEMA,
        "stage": stage.name,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        # As it will be read again from the stored document, where there are no tuples.
        "settings": json.loads(json.dumps(slices)),
        "inputs": {name: inputs[name] for name in stage.inputs},
        "externals": {
            name: external_digest(external, digest_cache)
            for name, external in sorted(stage.externals.items())
        },
        **({"values": values} if values else {}),
        "outputs": dict(stage.outputs),
        "code": code_digests([stage.run.partition(":")[0], *stage.code], digest_cache),
        "packages": {name: machine.version(name) for name in stage.packages},
        "facts": {name: machine.fact(name) for name in stage.facts},
    }


def key_of(document: KeyDocument) -> str:
    """Return the 64-digit key of a document.

    Raises:
        TypeError: A value has no canonical form.
        ValueError: A number is not finite.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def external_digest(external: External, digest_cache: DigestCache) -> str:
    """Return the digest of an outside file's bytes, or of a folder's names and bytes.

    Of a Python file the code counts, with that of the files beside it that it imports. A folder
    whose names, sizes and times are unchanged since its last digest is not read again.

    Raises:
        SettingsFault: A file that is named as code is no Python.
        StageError: There is nothing at the path.
    """
    path = external.path
    if path.is_file() and path.suffix == ".py":
        try:
            digests = file_digests(path, digest_cache)
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
    files = _files(path)
    listing = hashlib.sha256()
    for name, size, time_ns in files:
        listing.update(_encoded(f"{name}\0{size}\0{time_ns}\n"))

    def read_all() -> dict[str, str]:
        content = hashlib.sha256()
        for name, _, _ in files:
            content.update(_encoded(f"{name}\0{file_sha256(path / name)}\n"))
        return {"digest": content.hexdigest()}

    return str(digest_cache.get("folder", listing.hexdigest(), read_all)["digest"])


def _encoded(text: str) -> bytes:
    """Return the bytes of a text that holds file names, also of those that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _files(root: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file below `root`, also behind links, in order.

    A million images are usual, so this keeps to one system call for a file.
    """
    files = []
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [("", str(root), frozenset())]
    while waiting:
        prefix, folder, above = waiting.pop()
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue  # a link to a folder that it lies in
        inside = above | {identity}
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append((f"{prefix}{entry.name}/", entry.path, inside))
                elif entry.is_file():
                    status = entry.stat()
                    files.append((prefix + entry.name, status.st_size, status.st_mtime_ns))
    return sorted(files, key=lambda file: file[0].split("/"))


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Return what differs between two documents, a line each, leaf by leaf."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for name in sorted(old.keys() | new.keys()):
            values = old.get(name, ABSENT), new.get(name, ABSENT)
            lines += differences(*values, f"{place}.{name}".strip("."))
        return lines
    return [] if old == new else [f"{place}: {_as_text(old)} -> {_as_text(new)}"]


def _as_text(value: Any) -> str:
    if isinstance(value, str) and len(value) == _DIGEST_DIGITS:
        return value[:8]
    return value if value == ABSENT else json.dumps(value)
