"""The files that measurements and raw samples lie in: written, and read once they can be true."""

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline import stored_files
from pipeline.atomic import write_bytes
from pipeline.errors import StoreError
from pipeline.gates.build_records import Candidates
from pipeline.gates.measurements import SCHEMA, Measurements, Samples
from pipeline.gates.sound_figures import why_unsound

_REMEDY = "measure again: madpipe run validate"

Document = TypeVar("Document", Measurements, Samples)


class _Schema(msgspec.Struct):
    schema: str | None = None


def read(path: Path, kind: type[Document]) -> Document:
    """Return stored measurements or raw samples.

    Raises:
        StoreError: They are not there, damaged, of another schema, or nothing measures them.
    """
    document = _decoded(path, kind)
    if unsound := why_unsound(document):
        wrong = f"holds figures that nothing measures ({unsound})"
        raise StoreError(str(path), wrong, _REMEDY)
    return document


def _decoded(path: Path, kind: type[Document]) -> Document:
    try:
        content = stored_files.read_bytes(path)
        schema = stored_files.decode(content, _Schema).schema
        if schema == SCHEMA:
            return stored_files.decode(content, kind)
    except (OSError, msgspec.DecodeError) as error:
        wrong = f"holds no {kind.__name__.lower()} ({error})"
        raise StoreError(str(path), wrong, _REMEDY) from error
    wrong = f"was measured by another version of madpipe ({schema}, this one reads {SCHEMA})"
    raise StoreError(str(path), wrong, _REMEDY)


def write(path: Path, document: Measurements | Samples | Candidates) -> None:
    """Write a document as JSON.

    Raises:
        ValueError: It holds nan or infinity, for which JSON has no word.
    """
    write_bytes(path, json.dumps(msgspec.to_builtins(document), allow_nan=False).encode())
