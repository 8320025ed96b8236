"""The record of an entry is readable JSON and comes back as it was."""

import json

import msgspec
import pytest

from pipeline.cache import manifest as manifests
from pipeline.cache.manifest import Manifest, OutputRecord

MADE = Manifest(
    stage="make",
    key="ab" * 32,
    parts={"settings": {"seed": 0}, "facts": {}},
    outputs={"out": OutputRecord(file="out.bin", sha256="cd" * 32, bytes=3)},
    metrics={"top1": 0.5, "name": "x"},
    seconds=1.25,
    resumed=True,
    created_utc="2026-01-01T00:00:00+00:00",
    madpipe="0.1.0",
    host={"cpu": "x"},
)


def test_record_comes_back_as_it_was() -> None:
    assert manifests.decode(manifests.encode(MADE)) == MADE


def test_record_is_json_with_its_schema() -> None:
    encoded = manifests.encode(MADE)
    assert json.loads(encoded)["schema"] == 1
    assert encoded.count(b"\n") > 10


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"stage": "make"}'])
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        manifests.decode(content)


def test_record_of_a_newer_schema_is_refused() -> None:
    newer = msgspec.json.encode(msgspec.structs.replace(MADE, schema=2))
    with pytest.raises(msgspec.DecodeError):
        manifests.decode(newer)
