"""A record from elsewhere is that of an entry or is refused with the reason."""

import msgspec
import pytest

from pipeline.cache.arrivals import checked_record, record_fault
from pipeline.cache.entry import EntryRecord, OutputRecord
from pipeline.cache.keys import key_of
from tests.pipeline.cache.entries import record_of

SOUND = record_of(0, b"weights")


def with_files(**files: str) -> EntryRecord:
    """Return a record that agrees with itself, whose outputs have these files."""
    document = SOUND.key_document | {"outputs": dict(files)}
    output = SOUND.outputs["out"]
    outputs = {
        name: OutputRecord(file=file, sha256=output.sha256, bytes=output.bytes)
        for name, file in files.items()
    }
    return msgspec.structs.replace(
        SOUND, key=key_of(document), key_document=document, outputs=outputs
    )


def test_a_sound_record_is_taken_as_it_is() -> None:
    assert record_fault(SOUND) is None
    assert checked_record(SOUND.encode(), "make", SOUND.key) == SOUND


@pytest.mark.parametrize(
    "file",
    ["../x", "/etc/x", "a/x", "a\\x", "C:x", "..", ".", "", "entry.json", "Entry.JSON", "a\nb"],
)
def test_a_file_lies_right_in_its_folder(file: str) -> None:
    assert "leads out of its folder" in str(record_fault(with_files(out=file)))


def test_two_outputs_are_two_files() -> None:
    assert record_fault(with_files(a="x.bin", b="y.bin")) is None
    assert record_fault(with_files(a="x.bin", b="X.BIN")) == "two of its outputs are one file"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"stage": "../x"}, "no stage has this name"),
        ({"stage": "a/b"}, "no stage has this name"),
        ({"key": "ab" * 32}, "its key is not that of its parts"),
        ({"key_document": {"seed": float("inf")}}, "its key is not that of its parts"),
        ({"outputs": {}}, "its files are not those that its key names"),
    ],
)
def test_what_does_not_agree_is_refused(changes: dict[str, object], fault: str) -> None:
    assert str(record_fault(msgspec.structs.replace(SOUND, **changes))).startswith(fault)


@pytest.mark.parametrize(("sha256", "size"), [("AB" * 32, 1), ("../x", 1), ("ab" * 32, -1)])
def test_digest_and_size_are_such(sha256: str, size: int) -> None:
    output = OutputRecord(file="out.bin", sha256=sha256, bytes=size)
    wrong = msgspec.structs.replace(SOUND, outputs={"out": output})
    assert record_fault(wrong) == "the digest or size of a file is none (out.bin)"
