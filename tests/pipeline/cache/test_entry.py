"""A finished stage's record comes back as it was, and what is wrong with an entry is told."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.cache import keys
from pipeline.cache.entry import EntryRecord, damage_of
from pipeline.cache.store import Store
from tests.pipeline.cache import entries

KEY = entries.record_of(0, b"").key
PARTS = {"stage": "make", "settings": {"seed": 0}, "outputs": {"out": "out.bin"}}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("name", "harm", "expected"),
    [
        ("out.bin", flip, "out.bin has other bytes than were stored"),
        ("out.bin", lambda path: path.unlink(), "out.bin is missing"),
        ("entry.json", lambda path: path.unlink(), "its record is missing"),
        ("entry.json", lambda path: path.write_bytes(b""), "its record cannot be read"),
        ("entry.json", lambda path: path.write_bytes(b"\xff{}"), "its record cannot be read"),
        ("entry.json", edit(KEY, "cd" * 32), "its record cannot be read: it was changed"),
    ],
)
def test_damage_is_a_miss_with_its_reason(
    store: Store, name: str, harm: Callable[[Path], None], expected: str
) -> None:
    entry = entries.put(store)
    harm(entry.path / name)
    entry_of_key, damage = store.find("make", KEY)
    assert entry_of_key is None
    assert damage is not None
    assert damage.startswith(expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.985", "0.185"),
        ('"seed": 0', '"seed": 1'),
        ('"make",\n  "key"', '"fake",\n  "key"'),
        ('"out.bin"\n', '"../other"\n'),
    ],
)
def test_changed_figure_in_the_record_is_a_miss(store: Store, old: str, new: str) -> None:
    entry = entries.put(store)
    edit(old, new)(entry.path / "entry.json")
    assert store.find("make", KEY).entry is None


def test_file_name_in_a_record_cannot_lead_out_of_its_folder(store: Store) -> None:
    entry = entries.put(store)
    leading_out = msgspec.structs.replace(entry.record.outputs["out"], file="../../../layout.json")
    forged = msgspec.structs.replace(entry.record, outputs={"out": leading_out})
    (entry.path / "entry.json").write_bytes(forged.encode())
    damaged = store.read("make", KEY)
    assert damaged is not None
    assert damaged.output("out").parent == entry.path
    assert damage_of(damaged) == "../../../layout.json is missing"


def test_record_is_readable_json_that_comes_back_as_it_was(store: Store) -> None:
    entry = entries.put(store)
    content = (entry.path / "entry.json").read_bytes()
    assert EntryRecord.decode(content) == entry.record
    fields = json.loads(content)
    assert (fields["schema"], fields["parts"]) == (1, PARTS)
    assert content.count(b"\n") > 10


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"stage": "make"}'])
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        EntryRecord.decode(content)


def test_record_of_a_newer_schema_is_refused(store: Store) -> None:
    newer = msgspec.structs.replace(entries.put(store).record, schema=2)
    with pytest.raises(msgspec.DecodeError, match="schema 2, this madpipe knows 1"):
        EntryRecord.decode(newer.encode())


@pytest.mark.parametrize(
    ("name", "damage"), [("out.bin", "out.bin is a link"), ("entry.json", "rec")]
)
def test_a_link_in_an_entry_is_damage(store: Store, tmp_path: Path, name: str, damage: str) -> None:
    path = entries.put(store).path / name
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    entry, wrong = store.find("make", KEY)
    assert entry is None
    assert wrong is not None
    assert damage in wrong


def test_a_record_that_lacks_an_output_of_its_key_is_damage(store: Store) -> None:
    entry = entries.put(store)
    lacking = msgspec.structs.replace(entry.record, outputs={})
    (entry.path / "entry.json").write_bytes(lacking.encode())
    lookup = store.find("make", entry.record.key)
    assert lookup.entry is None
    assert lookup.damage is not None
    assert "it lacks outputs that its key stands for (out)" in lookup.damage


def test_a_file_that_goes_while_it_is_read_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entries.put(store)

    def removed_and_read(path: Path) -> str:
        path.unlink()
        return keys.file_sha256(path)

    monkeypatch.setattr("pipeline.cache.entry.file_sha256", removed_and_read)
    assert damage_of(entry) == "out.bin is missing"
