"""The cache is listed, checked, cleaned and shared."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.project import Project
from pipeline.run_pipeline import run_pipeline
from pipeline.sweep.stores import sweep_store

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def stored(project: Callable[..., Project]) -> Store:
    """The store of a project that has run."""
    opened = project()
    run_pipeline(opened, ["all"], force=(), sinks=[], command="run all", inconclusive=4)
    return opened.store


def damage(store: Store) -> Path:
    entry = store.newest("distill")
    assert entry is not None
    entry.output("student").chmod(0o644)
    entry.output("student").write_bytes(b"X")
    return entry.path


def test_empty_cache_is_reported(madpipe: Call) -> None:
    assert madpipe("cache", "ls") == (0, "nothing stored\n", "")
    assert madpipe("cache", "ls", "--json") == (0, "[]\n", "")
    assert madpipe("cache", "verify") == (0, "0 entries read, 0 damaged\n", "")


def test_listing_has_a_line_for_each_entry(madpipe: Call, stored: Store) -> None:
    lines = madpipe("cache", "ls")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["distill", "validate"]
    records = json.loads(madpipe("cache", "ls", "--json")[1])
    assert [(record["stage"], record["damage"]) for record in records] == [
        ("distill", None),
        ("validate", None),
    ]
    assert records[0]["bytes"] == 21
    assert stored.entry_path("distill", records[0]["key"]).is_dir()


def test_damaged_record_is_listed_as_such(madpipe: Call, stored: Store) -> None:
    entry = stored.newest("distill")
    assert entry is not None
    (entry.path / "entry.json").unlink()
    assert "damaged" in madpipe("cache", "ls")[1].splitlines()[0]


def test_gc_writes_nothing_for_a_sweep_that_never_began(madpipe: Call, stored: Store) -> None:
    """On a full disk there is no room for it, and gc is to make some."""
    folder = sweep_store(stored).home
    folder.mkdir()
    assert madpipe("cache", "gc")[0] == 0
    assert list(folder.iterdir()) == []


def test_verify_reads_every_byte(madpipe: Call, stored: Store) -> None:
    assert madpipe("cache", "verify") == (0, "2 entries read, 0 damaged\n", "")
    path = damage(stored)
    code, out, err = madpipe("cache", "verify")
    assert code == 1
    assert out.splitlines() == [
        f"damaged  {path}: student.bin has other bytes than were stored",
        "2 entries read, 1 damaged",
    ]
    assert err == f"{path}: is damaged (1 entries); madpipe run all makes it anew\n"


def test_gc_reports_what_it_removed(madpipe: Call, stored: Store) -> None:
    assert madpipe("cache", "gc", "--keep", "1") == (0, "removed 0 folders, 0 B\n", "")
    assert len(list(stored.entries())) == 2


def test_gc_takes_nothing_from_a_sweep_between_its_jobs(madpipe: Call, stored: Store) -> None:
    jobs = sweep_store(stored)
    with write_lock(jobs, command="madpipe sweep"):
        code, out, err = madpipe("cache", "gc", "--keep", "1")
    assert (code, out) == (1, "")
    assert err.startswith(f"{jobs.home}: another process is writing here (process ")
    assert madpipe("cache", "gc", "--keep", "1")[0] == 0


def test_gc_keeps_at_least_one(madpipe: Call) -> None:
    code, _, err = madpipe("cache", "gc", "--keep", "0")
    assert code == 2
    assert err.startswith("command line: Invalid value for '--keep'")


def test_push_and_pull_share_entries(madpipe: Call, stored: Store, tmp_path: Path) -> None:
    assert madpipe("cache", "push", "shared")[:2] == (0, "copied 2 entries to shared\n")
    assert madpipe("cache", "push", "shared")[1] == "copied 0 entries to shared\n"
    (tmp_path / "fresh").mkdir()
    config = ("--config", "fresh/pipeline.toml")
    assert madpipe("cache", "pull", "shared", *config)[1] == "copied 2 entries from shared\n"
    copied = Store(tmp_path / "fresh" / ".madpipe")
    assert [path.name for path, _ in copied.entries()] == [p.name for p, _ in stored.entries()]


def test_damaged_entries_are_not_pushed(madpipe: Call, stored: Store) -> None:
    damage(stored)
    assert madpipe("cache", "push", "shared")[1] == "copied 1 entries to shared\n"


def test_pull_from_nowhere_is_an_error(madpipe: Call) -> None:
    assert madpipe("cache", "pull", "gone") == (
        1,
        "",
        "gone: no such folder; name the folder that was pushed to\n",
    )


def test_push_and_pull_by_url(madpipe: Call, stored: Store, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    assert madpipe("cache", "push", url) == (0, f"copied 2 entries to {url}\n", "")
    assert madpipe("cache", "push", url)[1] == f"copied 0 entries to {url}\n"
    assert madpipe("cache", "push", "--overwrite", url)[1] == f"copied 2 entries to {url}\n"
    (tmp_path / "fresh").mkdir()
    config = ("--config", "fresh/pipeline.toml")
    assert madpipe("cache", "pull", url, *config)[1] == f"copied 2 entries from {url}\n"
    copied = Store(tmp_path / "fresh" / ".madpipe")
    assert [path.name for path, _ in copied.entries()] == [p.name for p, _ in stored.entries()]


def test_the_settings_name_the_place_where_the_command_does_not(
    madpipe: Call, stored: Store, tmp_path: Path
) -> None:
    assert stored.home.is_dir()
    code, _, err = madpipe("cache", "push")
    assert code == 2
    assert err == (
        "command line: names no place, nor does pipeline.toml (cache.remote is absent); name a "
        "URL or a folder, or set cache.remote\n"
    )
    text = '[cache]\nremote = "shared"\n'
    (tmp_path / "pipeline.toml").write_text(text, encoding="utf-8")
    assert madpipe("cache", "push")[:2] == (0, "copied 2 entries to shared\n")
    assert madpipe("cache", "pull")[:2] == (0, "copied 0 entries from shared\n")


def test_an_unknown_scheme_and_a_missing_package_have_their_own_exit_codes(madpipe: Call) -> None:
    code, _, err = madpipe("cache", "push", "s4://bucket/a")
    assert code == 2
    assert err == (
        "s4://bucket/a: unknown scheme, did you mean 's3'? (s4); use one of s3, gs, az, sftp, "
        "https, file, or the path of a folder\n"
    )
    code, _, err = madpipe("cache", "pull", "gs://bucket/a")
    assert (code, err.rpartition(";")[2]) == (5, " install madpipe[gcs]\n")
    assert madpipe("cache", "push", "https://host/a")[0] == 2


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", (2, "cache: names no place (an empty text); give a URL or a folder\n")),
        (".", (1, ".: is a folder with other files, and no cache (")),
        ("pipeline.toml", (1, "pipeline.toml: is a file; name a folder or a URL\n")),
        ("$NOWHERE/x", (1, "$NOWHERE/x: names a variable that is not set ($NOWHERE); ")),
        ("s3://$NOWHERE/x", (1, "s3://$NOWHERE/x: names a variable that is not set ($NOWHERE); ")),
    ],
)
def test_nothing_is_left_in_a_place_that_cannot_be_meant(
    madpipe: Call, stored: Store, tmp_path: Path, place: str, expected: tuple[int, str]
) -> None:
    assert stored.home.is_dir()
    before = sorted(tmp_path.iterdir())
    pushed = madpipe("cache", "push", place)
    assert pushed[:2] == (expected[0], "")
    assert pushed[2].startswith(expected[1])
    assert sorted(tmp_path.iterdir()) == before
