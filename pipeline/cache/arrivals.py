"""What a record from elsewhere must be before anything of it counts."""

import re
from pathlib import PurePosixPath, PureWindowsPath

from pipeline.cache.entry import RECORD_FILE, EntryRecord
from pipeline.cache.keys import key_of

LARGEST_RECORD_BYTES = 8 * 2**20
"""Records are some kilobytes; no more than this is read of one."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STAGE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RESERVED = frozenset({"", ".", "..", RECORD_FILE})


def is_digest(text: str) -> bool:
    """Return whether a text is a sha256 in 64 digits, and so a name that leads nowhere else."""
    return _DIGEST.fullmatch(text) is not None


def is_stage(text: str) -> bool:
    """Return whether a text can be the name of a stage, and so of a folder."""
    return _STAGE.fullmatch(text) is not None


def checked_record(content: bytes, stage: str, key: str) -> EntryRecord:
    """Return the record of an entry that arrives under the name of `stage` and `key`.

    Raises:
        ValueError: It is none, or is not what it says; the message says why.
    """
    try:
        record = EntryRecord.decode(content)
    except RecursionError as error:
        message = "it is nested too deep"
        raise ValueError(message) from error
    if (record.stage, record.key) != (stage, key):
        message = f"it is of another stage or key ({record.stage[:64]!r}, {record.key[:16]!r})"
        raise ValueError(message)
    if fault := record_fault(record):
        raise ValueError(fault)
    return record


def record_fault(record: EntryRecord) -> str | None:
    """Return why a record cannot be that of an entry, None where it can."""
    if not is_stage(record.stage):
        return f"no stage has this name ({record.stage[:64]!r})"
    try:
        key = key_of(record.key_document)
    except (TypeError, ValueError, RecursionError):
        key = ""
    if key != record.key:
        return "its key is not that of its parts"
    files = {name: output.file for name, output in record.outputs.items()}
    if files != record.key_document.get("outputs"):
        return "its files are not those that its key names"
    if len({file.casefold() for file in files.values()}) != len(files):
        return "two of its outputs are one file"
    for output in record.outputs.values():
        if not _is_plain(output.file):
            return f"the name of a file leads out of its folder ({output.file[:64]!r})"
        if not is_digest(output.sha256) or output.bytes < 0:
            return f"the digest or size of a file is none ({output.file})"
    return None


def _is_plain(file: str) -> bool:
    """Return whether a name is that of a file right in its folder, on every system."""
    names = {PurePosixPath(file).name, PureWindowsPath(file).name, file}
    return len(names) == 1 and file.casefold() not in _RESERVED and file.isprintable()
