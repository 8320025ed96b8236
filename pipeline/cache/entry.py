"""A finished stage on disk: its folder, its record, and what can be wrong with them."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline import stored_files
from pipeline.cache.keys import KeyDocument, file_sha256

RECORD_SCHEMA = 1
RECORD_FILE = "entry.json"
_RECORD_DIGEST = "record_sha256"


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One output file of an entry."""

    file: str
    sha256: str
    bytes: int


class EntryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one finished stage: what went in, what came out, and when."""

    schema: int = RECORD_SCHEMA
    stage: str
    key: str
    key_document: KeyDocument = msgspec.field(name="parts")
    """All that decides the result; its digest is the key."""
    outputs: dict[str, OutputRecord]
    metrics: dict[str, Any]
    seconds: float
    """Of all sessions, where the stage was resumed."""
    resumed: bool
    created_utc: str
    madpipe: str
    """Version of madpipe."""
    host: dict[str, str]
    """Facts of the machine that ran it, for the report; the key has its own."""

    @classmethod
    def decode(cls, content: bytes) -> "EntryRecord":
        """Return the record that `content` holds, after checking the digest it carries of itself.

        Raises:
            msgspec.DecodeError: It holds none, another schema's, or one that was changed.
        """
        fields = stored_files.decode(content, dict[str, Any])
        digest = fields.pop(_RECORD_DIGEST, None)
        if fields.get("schema") != RECORD_SCHEMA:
            message = f"it is of schema {fields.get('schema')}, this madpipe knows {RECORD_SCHEMA}"
            raise msgspec.ValidationError(message)
        if digest != _digest(fields):
            message = "it was changed after it was written"
            raise msgspec.ValidationError(message)
        record = msgspec.convert(fields, cls)
        declared = record.key_document.get("outputs")
        if isinstance(declared, dict) and (missing := declared.keys() - record.outputs.keys()):
            message = f"it lacks outputs that its key stands for ({', '.join(sorted(missing))})"
            raise msgspec.ValidationError(message)
        return record

    def encode(self) -> bytes:
        """Return the record as readable JSON with a digest of itself."""
        fields = msgspec.to_builtins(self)
        return json.dumps(fields | {_RECORD_DIGEST: _digest(fields)}, indent=2).encode()


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Entry(NamedTuple):
    """A stored stage: its folder and its record."""

    path: Path
    record: EntryRecord

    def output(self, name: str) -> Path:
        """Return the path of an output."""
        return self.path / Path(self.record.outputs[name].file).name


class Lookup(NamedTuple):
    """The answer to `find`: an entry, or the damage that keeps it from being one, or neither."""

    entry: Entry | None
    damage: str | None = None


def damage_of(entry: Entry) -> str | None:
    """Return what is wrong with the bytes of an entry, None where they are as recorded."""
    for name, output in entry.record.outputs.items():
        path = entry.output(name)
        if path.is_symlink():
            return f"{output.file} is a link"
        try:
            is_there = path.is_file()
            digest = file_sha256(path) if is_there and path.stat().st_size == output.bytes else ""
        except FileNotFoundError:  # `cache gc` removes it at this moment
            is_there, digest = False, ""
        if not is_there:
            return f"{output.file} is missing"
        if digest != output.sha256:
            return f"{output.file} has other bytes than were stored"
    return None


def read_entry(path: Path) -> Lookup:
    """Return the entry that a folder holds, or what is wrong with its record.

    Its files are not checked: see `damage_of`.
    """
    try:
        if (path / RECORD_FILE).is_symlink():
            return Lookup(None, "its record is a link")
        return Lookup(Entry(path, EntryRecord.decode(stored_files.read_bytes(path / RECORD_FILE))))
    except FileNotFoundError:
        return Lookup(None, "its record is missing")
    except (msgspec.DecodeError, ValueError, OSError) as error:
        return Lookup(None, f"its record cannot be read: {error}")
