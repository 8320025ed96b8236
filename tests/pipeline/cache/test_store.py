"""The working folder: entries are whole or not there, and what is wrong with one is reported."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.atomic import write_bytes
from pipeline.cache.entry import Entry, EntryRecord, OutputRecord
from pipeline.cache.store import Store, remove_tree
from pipeline.errors import StoreError
from tests.pipeline.cache.entries import files_below

KEY = "ab" * 32


def put(store: Store, content: bytes = b"weights", key: str = KEY, stage: str = "make") -> Entry:
    out = store.work_path(stage, key) / "out"
    out.mkdir(parents=True)
    (out / "w.bin").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    output = OutputRecord(file="w.bin", sha256=digest, bytes=len(content))
    record = EntryRecord(
        stage=stage,
        key=key,
        key_document={"settings": {"seed": 0}},
        outputs={"weights": output},
        metrics={"top1": 0.985},
        seconds=1.0,
        resumed=False,
        created_utc="2026-01-01T00:00:00+00:00",
        madpipe="0",
        host={},
    )
    return store.commit(out, record)


def test_committed_entry_is_whole(store: Store) -> None:
    entry = put(store)
    assert store.find("make", KEY) == (entry, None)
    assert entry.output("weights").read_bytes() == b"weights"
    assert entry.path == store.home / "entries" / "make" / KEY[:16]
    assert store.newest("make") == entry
    assert [path for path, _ in store.entries()] == [entry.path]


def test_committed_files_are_read_only(store: Store) -> None:
    assert put(store).output("weights").stat().st_mode & 0o222 == 0


def test_committed_files_are_as_private_as_the_umask_says(store: Store) -> None:
    before = os.umask(0o077)
    try:
        assert put(store).output("weights").stat().st_mode & 0o777 == 0o400
    finally:
        os.umask(before)


def test_entry_of_another_key_is_a_miss(store: Store) -> None:
    put(store)
    assert store.find("make", "cd" * 32) == (None, None)
    assert store.find("other", KEY) == (None, None)


def test_newest_is_the_entry_that_was_used_last(store: Store) -> None:
    first = put(store)
    second = put(store, key="cd" * 32)
    assert store.newest("make") == second
    store.mark_newest("make", KEY)
    assert store.newest("make") == first


def test_committing_a_key_again_replaces_its_entry(store: Store) -> None:
    put(store)
    put(store, b"other bytes")
    entry = store.find("make", KEY).entry
    assert entry is not None
    assert entry.output("weights").read_bytes() == b"other bytes"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"\0", b"gone", b"../../layout.json", b"a" * 300]
)
def test_damaged_pointer_to_the_newest_is_as_if_it_were_not_there(
    store: Store, content: bytes
) -> None:
    entry = put(store)
    pointer = entry.path.parent / "newest"
    pointer.write_bytes(content)
    assert store.newest("make") is None
    store.mark_newest("make", KEY)
    assert store.newest("make") == entry


def test_folder_of_a_newer_layout_is_refused(store: Store) -> None:
    (store.home / "layout.json").write_text('{"layout": 99}', encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        store.check_layout()
    assert str(caught.value) == (
        f"{store.home}: was written by a newer madpipe (layout 99, this one knows 1); "
        "update madpipe, or name another folder with MADPIPE_HOME"
    )
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"null", b'{"layout": "x"}', b'{"layout": 1e999}', b"\xff"]
)
def test_layout_that_is_no_record_is_refused(store: Store, content: bytes) -> None:
    (store.home / "layout.json").write_bytes(content)
    with pytest.raises(StoreError, match="is not a layout record"):
        store.check_layout()


def test_preparing_a_new_folder_writes_its_layout_and_hides_it_from_git(store: Store) -> None:
    assert json.loads((store.home / "layout.json").read_bytes()) == {"layout": 1}
    assert (store.home / ".gitignore").read_text(encoding="utf-8") == "*\n"
    store.prepare()


def test_a_kill_while_a_new_folder_is_prepared_leaves_the_rest_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its files a kill comes before."""
    for calls in range(2):
        home = Store(tmp_path / str(calls))
        with monkeypatch.context() as patch:
            _kill_before_call(calls, patch)
            with pytest.raises(SystemExit):
                home.prepare()
        home.prepare()
        assert files_below(home.home) == [".gitignore", "layout.json"]


def _kill_before_call(number: int, patch: pytest.MonkeyPatch) -> None:
    """End the process of a test before its n-th write to a folder that is prepared."""
    written: list[Path] = []

    def killing(write: Callable[..., object]) -> Callable[..., object]:
        def call(path: Path, *arguments: object, **options: object) -> object:
            if len(written) == number:
                raise SystemExit
            written.append(path)
            return write(path, *arguments, **options)

        return call

    patch.setattr("pipeline.cache.store.write_bytes", killing(write_bytes))
    patch.setattr(Path, "write_text", killing(Path.write_text))


def test_file_in_place_of_the_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"")
    for act in (Store(tmp_path / "home").check_layout, Store(tmp_path / "home").prepare):
        with pytest.raises(StoreError, match="home") as caught:
            act()
        assert "is a file, not a folder; name a folder with MADPIPE_HOME" in str(caught.value)


def test_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Store(tmp_path / "file" / "deep")
    with pytest.raises(StoreError, match="free space or give write access"):
        store.prepare()


def test_a_path_that_libraries_do_not_open_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(StoreError, match=r"caf.*: is in a path that is not UTF-8; rename it"):
        Store(folder / "home").prepare()
    assert list(folder.iterdir()) == []


def test_damaged_entries_are_listed_with_their_damage(store: Store) -> None:
    entry = put(store)
    (entry.path / "entry.json").unlink()
    assert list(store.entries()) == [(entry.path, (None, "its record is missing"))]


def test_an_entry_that_cannot_be_replaced_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = put(store)
    rename = Path.rename

    def fail(source: Path, target: Path) -> Path:
        if source.name == "out":
            raise OSError(28, "No space left on device")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        put(store, b"other")
    assert caught.value.filename == str(before.path)
    assert store.find("make", KEY) == (before, None)


def test_what_was_replaced_is_not_kept(store: Store) -> None:
    put(store)
    put(store, b"other")
    assert list((store.home / "work").rglob("*.bin")) == []


def test_a_new_folder_is_hidden_from_git_before_it_has_a_layout(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    (store.home / ".gitignore").mkdir(parents=True)
    with pytest.raises(StoreError):
        store.prepare()
    assert not (store.home / "layout.json").exists()
    (store.home / ".gitignore").rmdir()
    store.prepare()
    assert (store.home / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_folder_that_cannot_be_removed_is_named_and_not_what_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "entry" / "inner").mkdir(parents=True)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "inner")

    monkeypatch.setattr(os, "rmdir", fail)
    with pytest.raises(PermissionError) as caught:
        remove_tree(tmp_path / "entry")
    assert caught.value.filename == str(tmp_path / "entry")
