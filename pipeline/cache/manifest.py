"""The record that makes a stored entry an entry: what went in, what came out, and when."""

import hashlib
import json
from typing import Any

import msgspec

SCHEMA = 1
FILE_NAME = "entry.json"
_DIGEST = "record_sha256"


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One output file of an entry."""

    file: str
    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one finished stage."""

    schema: int = SCHEMA
    stage: str
    key: str
    parts: dict[str, Any]
    outputs: dict[str, OutputRecord]
    metrics: dict[str, Any]
    seconds: float
    """Of all sittings, where the stage was resumed."""
    resumed: bool
    created_utc: str
    madpipe: str
    host: dict[str, str]
    """Facts of the machine that ran it, for the report; the key has its own."""


def decode(content: bytes) -> Manifest:
    """Return the manifest that `content` holds, after checking the digest it carries of itself.

    Raises:
        msgspec.DecodeError: It holds none, another schema's, or one that was changed.
    """
    record = msgspec.json.decode(content, type=dict[str, Any])
    digest = record.pop(_DIGEST, None)
    if record.get("schema") != SCHEMA:
        message = f"it is of schema {record.get('schema')}, this madpipe knows {SCHEMA}"
        raise msgspec.ValidationError(message)
    if digest != _digest(record):
        message = "it was changed after it was written"
        raise msgspec.ValidationError(message)
    return msgspec.convert(record, Manifest)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as readable JSON with a digest of itself."""
    record = msgspec.to_builtins(manifest)
    return json.dumps(record | {_DIGEST: _digest(record)}, indent=2).encode()


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
