"""Through a link in a working folder nothing outside of it is written or removed."""

from pathlib import Path

import pytest

from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store, remove_tree
from pipeline.cache.sync import collect_garbage, copy_entries
from pipeline.errors import StoreError
from tests.pipeline.cache import entries

PLACES = ("entries", "entries/make", "work", "work/make", "cache", "sweep", "sweep/make-0", "runs")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder with files, at the depths at which a store has its own."""
    for name in ("a", "a/b", "a/b/c"):
        (tmp_path / "outside" / name).mkdir(parents=True)
        (tmp_path / "outside" / name / "notes.txt").write_text("mine", encoding="utf-8")
    return tmp_path / "outside"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_removed_behind_a_link(store: Store, outside: Path, place: str) -> None:
    before = entries.files_below(outside)
    link = store.home / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside, target_is_directory=True)
    with pytest.raises(StoreError, match="is a link, and madpipe makes none") as caught:
        collect_garbage(store, keep=0, unfinished=True)
    assert str(link) in str(caught.value)
    assert entries.files_below(outside) == before


@pytest.mark.parametrize("name", [".gitignore", "layout.json", "lock", "lock.json", "digests.json"])
def test_no_file_is_written_through_a_link(store: Store, tmp_path: Path, name: str) -> None:
    target = tmp_path / "mine.txt"
    target.write_text('{"layout": 1}', encoding="utf-8")
    store.home.mkdir()
    (store.home / name).symlink_to(target)
    with (
        pytest.raises(StoreError, match="is a link"),
        write_lock(store, command="x"),
    ):
        pass
    assert target.read_text(encoding="utf-8") == '{"layout": 1}'


def test_nothing_is_removed_behind_an_entry_that_is_a_link(store: Store, outside: Path) -> None:
    entry = entries.put(store)
    entry.path.with_name("0" * 16).symlink_to(outside, target_is_directory=True)
    (store.home / "work/make").mkdir(parents=True)
    (store.home / "work/make" / ("1" * 16)).symlink_to(outside, target_is_directory=True)
    before = entries.files_below(outside)
    collect_garbage(store, keep=1, unfinished=True)
    assert entries.files_below(outside) == before
    assert entries.content_of(store) == b"weights"


def test_an_entry_does_not_arrive_through_a_link(store: Store, outside: Path) -> None:
    source = Store(store.home.with_name("source"))
    entry = entries.put(source)
    work = store.work_path("make", entry.record.key)
    work.parent.mkdir(parents=True)
    work.symlink_to(outside, target_is_directory=True)
    before = entries.files_below(outside)
    with pytest.raises(StoreError, match="is a link"):
        copy_entries(source, store)
    assert entries.files_below(outside) == before


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk", target_is_directory=True)
    store = Store(tmp_path / "home")
    with write_lock(store, command="x"):
        entries.put(store)
    assert collect_garbage(store, keep=1, unfinished=True) == (0, 0)
    assert entries.content_of(store) == b"weights"


def test_a_tree_that_is_a_link_stays_where_it_leads(outside: Path, tmp_path: Path) -> None:
    before = entries.files_below(outside)
    (tmp_path / "link").symlink_to(outside, target_is_directory=True)
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert entries.files_below(outside) == before
