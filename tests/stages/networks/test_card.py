"""The card in the header of a weights file."""

import struct
from pathlib import Path

import pytest

from stages.networks import card as cards
from tests.stages.tiny import card, weights_file


def test_a_card_survives_being_written_as_one_line() -> None:
    metadata = cards.metadata(card())
    assert cards.from_metadata(metadata) == card()
    assert "\n" not in metadata[cards.METADATA_KEY]


def test_the_number_of_classes_is_that_of_their_names() -> None:
    assert card(classes=("cat", "dog")).num_classes == 2


def test_a_card_is_read_from_the_header_of_a_weights_file(tmp_path: Path) -> None:
    assert cards.read(weights_file(tmp_path / "w", classes=("a", "b"))) == card(classes=("a", "b"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100) + b'{"__metadata__"',
        struct.pack("<Q", 42) + b'{"__metadata__": {"madpipe.card": "no"}}  ',
        struct.pack("<Q", 4) + b"\xff\xfe\x00\x01",
    ],
)
def test_a_file_that_holds_no_card_gives_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    assert cards.read(tmp_path / "w") is None


@pytest.mark.parametrize(
    ("arch", "called"),
    [("file:onnx", "the ONNX file"), ("file:pt2", "the exported program"), ("resnet8", "resnet8")],
)
def test_messages_call_a_program_by_the_kind_of_its_file(arch: str, called: str) -> None:
    assert card(arch=arch).called == called
