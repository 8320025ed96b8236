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
from pathlib import Path
from typing import Any

import msgspec

from pipeline import machine
from pipeline.cache.code_digest import code_digests, file_digests
from pipeline.cache.digest_cache import Memo
from pipeline.errors import SettingsFault, StageError
from pipeline.settings import Settings
from pipeline.stage import External, Stage

KEY_SCHEMA = 1
_CHUNK_BYTES = 1 << 20

Parts = dict[str, Any]


def key_parts(stage: Stage, settings: Settings, inputs: Mapping[str, str], memo: Memo) -> Parts:
    """Return the document whose digest is the key of `stage`.

    Args:
        stage: The declaration.
        settings: Of which only the declared slices are taken.
        inputs: sha256 of the bytes of each declared input.
        memo: What is already known of code and of outside folders.
    """
    return {
        "schema": KEY_SCHEMA,
        "stage": stage.name,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "settings": {name: _slice(settings, name) for name in stage.settings},
        "inputs": {name: inputs[name] for name in stage.inputs},
        "externals": {
            name: external_digest(each, memo) for name, each in sorted(stage.externals.items())
        },
        "outputs": dict(stage.outputs),
        "code": code_digests([stage.run.partition(":")[0], *stage.code], memo),
        "packages": {name: machine.version(name) for name in stage.packages},
        "facts": {name: machine.fact(name) for name in stage.facts},
    }


def key_of(parts: Parts) -> str:
    """Return the 64-digit key of a document.

    Raises:
        TypeError: A part has no canonical form.
        ValueError: A number is not finite.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def external_digest(external: External, memo: Memo) -> str:
    """Return the digest of an outside file's bytes, or of a folder's names and bytes.

    Of a Python file the code counts, with that of the files beside it that it imports.

    A folder whose names, sizes and times are unchanged since its last digest is not read again.

    Raises:
        SettingsFault: A file that is named as code is no Python.
        StageError: There is nothing at the path.
    """
    path = external.path
    if path.is_file() and path.suffix == ".py":
        return _code_digest(external, memo)
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        raise StageError(
            external.needed_by,
            f"no such file or folder ({path})",
            external.remedy,
        )
    files = _files(path)
    seen = hashlib.sha256()
    for name, size, time_ns in files:
        seen.update(f"{name}\0{size}\0{time_ns}\n".encode())
    return str(memo.get("folder", seen.hexdigest(), lambda: _folder(path, files))["digest"])


def _code_digest(external: External, memo: Memo) -> str:
    try:
        digests = file_digests(external.path, memo)
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError):
            told = f"{error.filename}, line {error.lineno}: {error.msg}"
        else:
            told = f"{external.path}: {error}"
        key = tuple(external.needed_by.split("."))
        raise SettingsFault([(key, f"is not Python ({told})", "correct the file")]) from error
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _files(root: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file below `root`, also behind links, in order.

    A million images are usual, so this keeps to one system call for a file.
    """
    found = []
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [("", str(root), frozenset())]
    while waiting:
        prefix, folder, above = waiting.pop()
        place = Path(folder).stat()
        if (place.st_dev, place.st_ino) in above:
            continue  # a link to a folder that it lies in
        inside = above | {(place.st_dev, place.st_ino)}
        with os.scandir(folder) as entries:
            for each in entries:
                if each.is_dir():
                    waiting.append((f"{prefix}{each.name}/", each.path, inside))
                elif each.is_file():
                    state = each.stat()
                    found.append((prefix + each.name, state.st_size, state.st_mtime_ns))
    return sorted(found, key=lambda file: file[0].split("/"))


def _folder(path: Path, files: list[tuple[str, int, int]]) -> dict[str, str]:
    content = hashlib.sha256()
    for name, _, _ in files:
        content.update(f"{name}\0{file_sha256(path / name)}\n".encode())
    return {"digest": content.hexdigest()}


def _slice(settings: Settings, dotted: str) -> Any:
    value: Any = settings
    for name in dotted.split("."):
        value = getattr(value, name)
    # As it will be read again from the stored document, where there are no tuples.
    return json.loads(json.dumps(msgspec.to_builtins(value)))


def differences(old: Parts, new: Parts) -> list[str]:
    """Return what differs between two documents, a line each, leaf by leaf."""
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, place: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        inner = [
            _differences(old.get(name, ABSENT), new.get(name, ABSENT), f"{place}.{name}".strip("."))
            for name in names
        ]
        return [line for lines in inner for line in lines]
    return [] if old == new else [f"{place}: {_shown(old)} -> {_shown(new)}"]


ABSENT = "(absent)"
_DIGEST_DIGITS = 64


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) == _DIGEST_DIGITS:
        return value[:8]
    return value if value == ABSENT else json.dumps(value)
