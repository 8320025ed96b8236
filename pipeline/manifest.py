"""The record that makes a stored entry an entry: what went in, what came out, and when."""

from typing import Any

import msgspec

SCHEMA = 1
FILE_NAME = "entry.json"


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
    resumed: bool
    created_utc: str
    madpipe: str
    host: dict[str, str]
    """Facts of the machine that ran it, for the report; the key has its own."""


def decode(content: bytes) -> Manifest:
    """Return the manifest that `content` holds.

    Raises:
        msgspec.DecodeError: It holds none.
    """
    return msgspec.json.decode(content, type=Manifest)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)
