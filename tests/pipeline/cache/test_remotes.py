"""The same over SFTP, HTTP, file:// and a plain folder, each against a real counterpart."""

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cache.remotes import open_remote
from pipeline.cache.store import Store
from pipeline.errors import (
    BadEntry,
    Interrupted,
    RemoteError,
    StoreError,
    UnavailableError,
    UsageError,
)
from tests.pipeline.cache.entries import content_of, files_below, put, record_of
from tests.pipeline.cache.sftp_server import sftp_server

KEY = record_of(0, b"").key
DIGEST = record_of(0, b"weights").outputs["out"].sha256


@pytest.fixture
def other(tmp_path: Path) -> Store:
    store = Store(tmp_path / "other")
    store.prepare()
    return store


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of an SFTP server that ~/.ssh/known_hosts has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with sftp_server(tmp_path / ".ssh" / "known_hosts") as port:
        yield port


@pytest.fixture
def web(shared: Path) -> Iterator[str]:
    """The URL of an HTTP server of the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(shared))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def check_round_trip(url: str, shared: Path, store: Store, other: Store) -> None:
    """Push and pull two entries, find damage and heal it."""
    put(store, 0)
    put(store, 1)
    remote = open_remote(url)
    assert (remote.push(store), remote.push(store)) == (2, 0)
    assert len(files_below(shared)) == 3
    assert f"v1/entries/make/{KEY}.json" in files_below(shared)
    assert remote.pull(other) == 2
    assert content_of(other) == content_of(other, 1) == b"weights"
    (shared / "v1" / "objects" / DIGEST).write_bytes(b"wEights")
    fresh = Store(other.home / "fresh")
    fresh.prepare()
    with pytest.raises(BadEntry, match="has other bytes than its name says"):
        remote.fetch(fresh, "make", KEY)
    remote.push_entry(next(entry for _, (entry, _) in store.entries() if entry))
    assert remote.fetch(fresh, "make", KEY) is not None
    assert remote.fetch(fresh, "make", "ab" * 32) is None


def test_files_go_by_url(shared: Path, store: Store, other: Store) -> None:
    check_round_trip(f"file://{shared}", shared, store, other)


def test_files_go_by_sftp(sftp: int, shared: Path, store: Store, other: Store) -> None:
    check_round_trip(f"sftp://me:secret@127.0.0.1:{sftp}{shared}", shared, store, other)


def test_a_stop_ends_a_transfer_by_sftp(
    sftp: int, shared: Path, store: Store, other: Store
) -> None:
    put(store)
    url = f"sftp://me:secret@127.0.0.1:{sftp}{shared}"
    with pytest.raises(Interrupted):
        open_remote(url, stop_asked=lambda: True).push(store)
    assert files_below(shared) == []
    open_remote(url).push(store)
    with pytest.raises(Interrupted):
        open_remote(url, stop_asked=lambda: True).fetch(other, "make", KEY)
    assert files_below(other.home / "work") == []


def test_a_first_push_makes_the_folder(shared: Path, store: Store, other: Store) -> None:
    url = f"file://{shared}/new/one"
    with pytest.raises(RemoteError, match="there is no such folder"):
        open_remote(url).pull(other)
    put(store)
    assert open_remote(url).push(store) == 1
    assert open_remote(url).pull(other) == 1


def test_a_write_that_fails_leaves_no_part(shared: Path, store: Store) -> None:
    put(store)
    (shared / "v1" / "objects" / DIGEST).mkdir(parents=True)
    with pytest.raises(RemoteError, match="cannot be used"):
        open_remote(f"file://{shared}").push(store)
    assert files_below(shared) == []


@pytest.mark.parametrize("target", ["weights", "/dev/zero"])
def test_links_are_no_files(shared: Path, store: Store, other: Store, target: str) -> None:
    put(store)
    remote = open_remote(f"file://{shared}")
    remote.push(store)
    (shared / "weights").write_bytes(b"weights")
    item = shared / "v1" / "objects" / DIGEST
    item.unlink()
    item.symlink_to(shared / target)
    with pytest.raises(BadEntry, match="it is a link and no file"):
        remote.fetch(other, "make", KEY)


def test_sftp_says_what_is_wrong(sftp: int, shared: Path, store: Store, tmp_path: Path) -> None:
    put(store)
    with pytest.raises(RemoteError, match="the credentials are wrong") as caught:
        open_remote(f"sftp://me:wr0ng@127.0.0.1:{sftp}{shared}").push(store)
    assert caught.value.place == f"sftp://127.0.0.1:{sftp}{shared}"
    assert "wr0ng" not in str(caught.value)
    (tmp_path / ".ssh" / "known_hosts").write_text("", encoding="utf-8")
    with pytest.raises(RemoteError, match="its host key is not the one"):
        open_remote(f"sftp://me:secret@127.0.0.1:{sftp}{shared}").push(store)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RemoteError, match="cannot be reached"):
        open_remote(f"sftp://me:secret@127.0.0.1:{port}{shared}").push(store)
    assert files_below(shared) == []


def test_files_are_pulled_by_http(web: str, shared: Path, store: Store, other: Store) -> None:
    put(store)
    open_remote(f"file://{shared}/a").push(store)
    assert open_remote(f"{web}/a").pull(other) == 1
    assert content_of(other) == b"weights"
    fresh = Store(other.home / "fresh")
    fresh.prepare()
    remote = open_remote(f"{web}/a/")
    assert remote.fetch(fresh, "make", "ab" * 32) is None
    item = shared / "a" / "v1" / "objects" / DIGEST
    item.write_bytes(b"weights" * 10**6)
    with pytest.raises(BadEntry, match="more than the 7 bytes"):
        remote.fetch(fresh, "make", KEY)
    item.write_bytes(b"weights")
    assert remote.fetch(fresh, "make", KEY) is not None


def test_nothing_is_pushed_by_http(web: str, store: Store) -> None:
    entry = put(store)
    remote = open_remote(web)
    for call in (lambda: remote.push(store), lambda: remote.push_entry(entry)):
        with pytest.raises(UsageError, match="is for pulling alone"):
            call()


def test_http_says_what_is_wrong(web: str, other: Store) -> None:
    with pytest.raises(RemoteError, match="has no list of its entries"):
        open_remote(f"{web}/nothing").pull(other)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for call in (open_remote(f"http://127.0.0.1:{port}/a").pull,):
        with pytest.raises(RemoteError, match="cannot be reached"):
            call(other)


def test_a_client_that_is_not_installed_is_named(
    other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UnavailableError, match=r"install madpipe\[gcs\]") as caught:
        open_remote("gs://bucket/a").pull(other)
    assert caught.value.exit_code == 5
    with pytest.raises(UnavailableError, match="webdav4"):
        open_remote("webdav://host/a").pull(other)


def test_a_folder_is_a_store_that_is_shared(shared: Path, store: Store, other: Store) -> None:
    entry = put(store)
    remote = open_remote("shared", shared.parent)
    assert remote.name == "shared"
    assert remote.fetch(other, "make", KEY) is None
    assert (remote.push(store), remote.push(store)) == (1, 0)
    assert remote.push(store, overwrite=True) == 1
    assert remote.fetch(other, "make", KEY) is not None
    assert content_of(other) == b"weights"
    copied = Store(shared).read("make", KEY)
    assert copied is not None
    copied.output("out").chmod(0o644)
    copied.output("out").write_bytes(b"X")
    with pytest.raises(BadEntry, match="has other bytes than were stored"):
        remote.fetch(other, "make", KEY)
    remote.push_entry(entry)
    assert remote.fetch(other, "make", KEY) is not None


def test_a_folder_that_cannot_be_used_is_an_error_of_the_remote(
    shared: Path, store: Store, other: Store
) -> None:
    put(store)
    with pytest.raises(RemoteError, match="no such folder"):
        open_remote(str(shared / "gone")).pull(other)
    (shared / "layout.json").write_text('{"layout": 99}', encoding="utf-8")
    with pytest.raises(RemoteError, match="newer madpipe"):
        open_remote(str(shared)).fetch(other, "make", KEY)
    open_remote(f"file://{shared}/urls").push(store)
    with pytest.raises(RemoteError, match=f"name it as file://{shared}/urls"):
        open_remote(str(shared / "urls")).pull(other)
    open_remote(str(shared / "folder")).push(store)
    with pytest.raises(RemoteError, match="name it as the path of a folder"):
        open_remote(f"file://{shared}/folder").pull(other)


def test_a_store_that_cannot_be_written_is_no_fault_of_a_folder_whose_name_begins_its_own(
    shared: Path, tmp_path: Path
) -> None:
    put(Store(shared))
    here = Store(tmp_path / "shared-not")
    here.prepare()
    (here.home / "work").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        open_remote(str(shared)).fetch(here, "make", KEY)
    assert not isinstance(caught.value, RemoteError)
