"""Entries travel between working folders only whole and checked, and are cleaned up by rule."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.cache import sync
from pipeline.cache.entry import Entry
from pipeline.cache.folder_remote import FolderRemote
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.cache.sync import collect_garbage, copy_entries
from pipeline.errors import LockedError, RemoteError, StoreError
from pipeline.runner import Runner
from pipeline.settings import Settings
from pipeline.stage import Stage

Run = Callable[..., Runner]

STAGE = Stage(name="make", run="fakestages:run", settings=("seed",), outputs={"out": "out.bin"})


@pytest.fixture
def run_with_seed(run: Run, code: Callable[..., None]) -> Callable[[int], Entry]:
    """Run the fake stage with a seed and return its entry."""
    code("def run(ctx):\n    ctx.output('out').write_text(f'seed {ctx.settings.seed}')\n")
    return lambda seed: run((STAGE,), Settings(seed=seed)).entries["make"]


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


def names(store: Store) -> set[str]:
    return {path.name for path, _ in store.entries()}


def overwrite(path: Path, content: str) -> None:
    path.chmod(0o644)
    path.write_text(content, encoding="utf-8")


def test_entry_is_copied_whole_and_has_its_key(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    entry = run_with_seed(0)
    assert copy_entries(store, other) == 1
    copied = other.find("make", entry.record.key).entry
    assert copied is not None
    assert copied.record == entry.record
    assert copied.output("out").read_text(encoding="utf-8") == "seed 0"
    assert other.newest("make") == copied


def test_a_failure_is_named_where_what_arrived_cannot_be_removed_either(
    other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring(_: Path) -> None:
        monkeypatch.setattr(sync, "remove_tree", fail_at("arriving"))
        fail_at("out.bin")(Path())

    def fail_at(name: str) -> Callable[[Path], None]:
        def fail(_: Path) -> None:
            raise OSError(errno.EROFS, "Read-only file system", name)

        return fail

    with pytest.raises(StoreError, match=r"^out\.bin: cannot be read or written"):
        sync.take_in(other, "make", "ab" * 32, bring)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_push_goes_on_where_one_failed_at_its_start(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store, *, is_ours: bool
) -> None:
    run_with_seed(0)
    (other.home / "runs").mkdir(parents=True)
    (other.home / "layout.json.0123456789ab.part").write_bytes(b"{")
    (other.home / ".gitignore").write_bytes(b"*\n" if is_ours else b"*.pyc\n")
    remote = FolderRemote(other.home, "there")
    if is_ours:
        assert remote.push(store) == 1
    else:
        with pytest.raises(RemoteError, match=r"other files, and no cache \(\.gitignore\)"):
            remote.push(store)
        assert (other.home / ".gitignore").read_bytes() == b"*.pyc\n"


def test_entry_that_is_there_is_not_copied_again(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    run_with_seed(0)
    copy_entries(store, other)
    run_with_seed(1)
    assert copy_entries(store, other) == 1
    assert names(other) == names(store)


def test_copied_entries_do_not_become_the_ones_used_last(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    run_with_seed(0)
    copy_entries(store, other)
    run_with_seed(1)
    copy_entries(store, other)
    newest = other.newest("make")
    assert newest is not None
    assert newest.output("out").read_text(encoding="utf-8") == "seed 0"


def test_damaged_entry_of_the_target_is_replaced(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    entry = run_with_seed(0)
    copy_entries(store, other)
    copied = other.read("make", entry.record.key)
    assert copied is not None
    overwrite(copied.output("out"), "seed X")
    assert copy_entries(store, other) == 1
    assert other.find("make", entry.record.key).entry == copied


@pytest.mark.parametrize("harm", ["bytes", "file", "record", "key document", "folder", "stage"])
def test_entry_that_is_not_sound_is_not_copied(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store, harm: str
) -> None:
    entry = run_with_seed(0)
    record = entry.path / "entry.json"
    text = record.read_text(encoding="utf-8")
    if harm == "bytes":
        overwrite(entry.output("out"), "seed X")
    elif harm == "file":
        entry.output("out").unlink()
    elif harm == "record":
        record.unlink()
    elif harm == "key document":
        record.write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    elif harm == "stage":
        changed = text.replace('"stage": "make"', '"stage": "../../../outside"')
        record.write_text(changed, encoding="utf-8")
    else:
        entry.path.rename(entry.path.with_name("0123456789abcdef"))
    assert copy_entries(store, other) == 0
    assert names(other) == set()


def test_file_beside_the_outputs_is_not_copied(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    entry = run_with_seed(0)
    (entry.path / "extra.txt").write_text("not declared", encoding="utf-8")
    copy_entries(store, other)
    assert list(other.home.rglob("extra.txt")) == []


def test_target_that_is_a_file_is_an_error(
    run_with_seed: Callable[[int], Entry], store: Store, other: Store
) -> None:
    run_with_seed(0)
    other.home.write_bytes(b"")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        copy_entries(store, other)


def test_collecting_keeps_the_newest_and_the_one_used_last(
    run_with_seed: Callable[[int], Entry], store: Store
) -> None:
    entries = [run_with_seed(seed) for seed in range(4)]
    for day, entry in enumerate(entries, start=1):
        dated = msgspec.structs.replace(entry.record, created_utc=f"2026-01-0{day}T00:00:00+00:00")
        (entry.path / "entry.json").write_bytes(dated.encode())
    store.mark_newest("make", entries[0].record.key)
    removed, freed = collect_garbage(store, keep=2, unfinished=False)
    assert removed == 1
    assert freed > 0
    assert names(store) == {entries[index].path.name for index in (0, 2, 3)}


def test_collecting_keeps_what_a_run_marks_as_used_meanwhile(
    run_with_seed: Callable[[int], Entry], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of what is stored holds no lock, so its mark may come after gc chose what to remove."""
    chosen, newest = run_with_seed(0), run_with_seed(1)
    rename = Path.rename

    def a_run_marks_and_then_it_moves(self: Path, target: Path) -> Path:
        if self.name == "entry.json":
            store.mark_newest("make", chosen.record.key)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", a_run_marks_and_then_it_moves)
    assert collect_garbage(store, keep=0, unfinished=False) == (0, 0)
    assert names(store) == {chosen.path.name, newest.path.name}
    assert store.find("make", chosen.record.key).entry == chosen


def test_a_file_system_without_room_for_another_name_gives_room_all_the_same(
    run_with_seed: Callable[[int], Entry], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with_seed(0)
    newest, rename = run_with_seed(1), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "entry.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    assert collect_garbage(store, keep=0, unfinished=False)[0] == 1
    assert names(store) == {newest.path.name}


def test_an_entry_that_a_kill_left_without_record_goes_next_time(
    run_with_seed: Callable[[int], Entry], store: Store
) -> None:
    """Its record is taken away before it is removed."""
    withdrawn, sound = run_with_seed(0), run_with_seed(1)
    record = withdrawn.path / "entry.json"
    record.rename(withdrawn.path / "entry.json.removed")
    assert store.find("make", withdrawn.record.key).entry is None
    assert collect_garbage(store, keep=3, unfinished=False)[0] == 1
    assert names(store) == {sound.path.name}


@pytest.mark.parametrize("harm", ["record", "bytes"])
def test_collecting_removes_damaged_entries(
    run_with_seed: Callable[[int], Entry], store: Store, harm: str
) -> None:
    damaged, sound = run_with_seed(0), run_with_seed(1)
    if harm == "record":
        (damaged.path / "entry.json").unlink()
    else:
        overwrite(damaged.output("out"), "seed X")
    assert collect_garbage(store, keep=3, unfinished=False)[0] == 1
    assert names(store) == {sound.path.name}


def test_unfinished_work_is_removed_only_when_asked_for(store: Store) -> None:
    work = store.work_path("make", "ab" * 32) / "checkpoint"
    work.mkdir(parents=True)
    (work / "state").write_bytes(bytes(1000))
    assert collect_garbage(store, keep=3, unfinished=False) == (0, 0)
    assert collect_garbage(store, keep=3, unfinished=True) == (1, 1000)
    assert not work.exists()


def test_what_the_store_did_not_make_is_left_alone(
    run_with_seed: Callable[[int], Entry], store: Store, tmp_path: Path
) -> None:
    run_with_seed(0)
    kept = [
        store.home / name for name in ("entries/make/mine", "entries/own/notes", "work/make/mine")
    ]
    for folder in kept:
        folder.mkdir(parents=True)
        (folder / "file").touch()
    another_disk = tmp_path / "another_disk"
    another_disk.mkdir()
    linked = store.home / "entries" / "make" / ("ab" * 8)
    linked.symlink_to(another_disk)
    assert collect_garbage(store, keep=1, unfinished=True) == (0, 0)
    assert all((folder / "file").is_file() for folder in kept)
    assert linked.is_symlink()
    assert another_disk.is_dir()


def test_folder_that_another_process_writes_is_left_alone(store: Store, other: Store) -> None:
    with write_lock(store, command="madpipe run all"):
        with pytest.raises(LockedError):
            collect_garbage(store, keep=1, unfinished=True)
        with pytest.raises(LockedError):
            copy_entries(other, store)
