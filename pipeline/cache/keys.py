"""The key of a stage: a document of all that decides its result, and the digest of it.

The document is stored with the entry, so that `why` is a comparison of two documents. Inputs
count by their bytes, not by how they came about: a stage that runs anew and leaves the same
bytes stops the change there.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from pipeline import machine
from pipeline.cache.digests import DigestCache, code_digests
from pipeline.cache.externals import external_digest, file_sha256
from pipeline.errors import MadpipeError
from pipeline.settings import Settings
from pipeline.stage import Stage

__all__ = [
    "ABSENT", "Changed", "KeyDocument", "changed_since", "differences", "external_digest",
    "file_sha256", "key_document", "key_of",
]  # fmt: skip

KEY_SCHEMA = 1
ABSENT = "(absent)"
OUTSIDE = "(counts by its bytes)"
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
    for external in stage.externals.values():
        if external.is_path:
            _leave_out(slices, external.needed_by)
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
        "packages": {name: _version(name) for name in stage.packages},
        "facts": {name: machine.fact(name) for name in stage.facts},
    }


def _leave_out(slices: dict[str, Any], dotted: str) -> None:
    """Put a mark in the place of a setting that names a file, whose bytes count alone."""
    table, _, name = dotted.rpartition(".")
    if dotted in slices:
        slices[dotted] = OUTSIDE
    elif table in slices:
        slices[table][name] = OUTSIDE


def _version(distribution: str) -> str:
    """Return the version of a distribution; of alternatives, also which of them it is."""
    name, version = machine.installed(distribution)
    return f"{name} {version}" if "|" in distribution and version != machine.ABSENT else version


class Changed(NamedTuple):
    """What is no longer as it was for a key."""

    files: list[str]
    """Outside files and folders, each behind its setting."""
    code: list[str]
    """Modules, and files of the user's code."""


def changed_since(stage: Stage, document: KeyDocument, digest_cache: DigestCache) -> Changed:
    """Return what of a stage's outside files and code is not what it was for its key."""
    changed = Changed([], [])
    for name, external in sorted(stage.externals.items()):
        try:
            digest = external_digest(external, digest_cache)
        except (MadpipeError, OSError):
            digest = ABSENT
        if digest != document["externals"][name]:
            kind = changed.code if external.path.suffix == ".py" else changed.files
            kind.append(f"{external.needed_by}: {external.path}")
    code = code_digests([stage.run.partition(":")[0], *stage.code], digest_cache)
    changed.code.extend(name for name, it in document["code"].items() if code.get(name) != it)
    return changed


def key_of(document: KeyDocument) -> str:
    """Return the 64-digit key of a document.

    Raises:
        TypeError: A value has no canonical form.
        ValueError: A number is not finite.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


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
