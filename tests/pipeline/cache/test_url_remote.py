"""Entries travel over S3 whole and checked, whatever two machines, a kill or a thief do to them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline.cache import remote_files
from pipeline.cache.remotes import open_remote
from pipeline.cache.store import Store
from pipeline.errors import BadEntry, Interrupted, RemoteError, StoreError
from tests.pipeline.cache.entries import content_of, files_below, put, record_of
from tests.pipeline.cache.s3_server import BUCKET, S3Server

ROOT = Path(__file__).parents[3]
URL = f"s3://{BUCKET}/shared"
KEY = record_of(0, b"").key
RECORD = f"shared/v1/entries/make/{KEY}.json"


@pytest.fixture
def other(tmp_path: Path) -> Store:
    store = Store(tmp_path / "other")
    store.prepare()
    return store


@pytest.fixture
def pushed(s3: S3Server, store: Store) -> S3Server:
    """The server after a push of one entry."""
    put(store)
    open_remote(URL).push(store)
    s3.requests.clear()
    return s3


def lists(server: S3Server) -> list[str]:
    return [request for request in server.requests if "list-type=2" in request]


def push_command(folder: Path) -> subprocess.Popen[str]:
    """Start `madpipe cache push` as a process of its own on the store in a folder."""
    code = "from pipeline.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "cache", "push", URL],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_entries_go_up_and_down_whole(s3: S3Server, store: Store, other: Store) -> None:
    entry = put(store)
    assert open_remote(URL).push(store) == 1
    digest = entry.record.outputs["out"].sha256
    assert s3.names() == [RECORD, f"shared/v1/objects/{digest}"]
    assert open_remote(URL).pull(other) == 1
    copied = other.find("make", KEY).entry
    assert copied is not None
    assert copied.record == entry.record
    assert content_of(other) == b"weights"
    assert copied.output("out").stat().st_mode & 0o222 == 0
    assert files_below(other.home / "work") == []
    assert (open_remote(URL).push(store), open_remote(URL).pull(other)) == (0, 0)


def test_a_thousand_entries_take_one_listing(s3: S3Server, store: Store, other: Store) -> None:
    entries = [put(store, seed) for seed in range(1000)]
    there = {
        f"shared/v1/entries/make/{entry.record.key}.json": entry.record.encode()
        for entry in entries[20:]
    }
    s3.write_many(there)
    assert open_remote(URL).push(store) == 20
    assert len(lists(s3)) == 1
    written = [request.partition("?")[0] for request in s3.requests[1:]]
    assert sum("/entries/" in request for request in written) == 20
    assert {request.split()[0] for request in written} == {"PUT"}
    s3.requests.clear()
    for seed in range(10, 1000):
        put(other, seed)
    assert open_remote(URL).pull(other) == 10
    assert len(lists(s3)) == 1
    assert [request.split()[0] for request in s3.requests] == ["GET"] * (1 + 10 * 2)
    assert len(list(other.entries())) == 1000


def test_more_than_a_thousand_names_are_one_listing_of_several_pages(
    s3: S3Server, store: Store
) -> None:
    entries = [put(store, seed) for seed in range(1001)]
    s3.write_many(
        {
            f"shared/v1/entries/make/{entry.record.key}.json": entry.record.encode()
            for entry in entries[1:]
        }
    )
    assert open_remote(URL).push(store) == 1
    assert len(lists(s3)) == 1
    assert open_remote(URL).push(store) == 0
    assert len(lists(s3)) == 1 + 2  # there is an object now, so there are 1,002 names


def test_one_entry_is_brought_without_a_listing(s3: S3Server, store: Store, other: Store) -> None:
    remote = open_remote(URL)
    assert remote.fetch(other, "make", KEY) is None
    remote.push_entry(put(store))
    s3.requests.clear()
    entry = remote.fetch(other, "make", KEY)
    assert entry is not None
    assert [request.split()[0] for request in s3.requests] == ["GET", "GET"]
    assert lists(s3) == []


def test_a_checkpoint_stays_where_nothing_comes_and_goes_where_the_entry_does(
    s3: S3Server, store: Store, other: Store
) -> None:
    state = other.work_path("make", KEY) / "checkpoint" / "state"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"half way")
    remote = open_remote(URL)
    assert remote.fetch(other, "make", KEY) is None
    assert state.is_file()
    remote.push_entry(put(store))
    s3.write(RECORD, b"{}")
    with pytest.raises(BadEntry):
        remote.fetch(other, "make", KEY)
    assert state.is_file()
    remote.push(store, overwrite=True)
    assert remote.fetch(other, "make", KEY) is not None
    assert not state.exists()


def test_two_machines_that_push_one_key_at_once_leave_a_whole_entry(
    s3: S3Server, tmp_path: Path, other: Store
) -> None:
    both = threading.Barrier(2)

    def meet(request: str) -> None:
        if request.startswith("PUT"):
            both.wait(60)

    s3.on_request = meet
    contents = [b"of the first", b"of the second!"]
    processes = []
    for number, content in enumerate(contents):
        put(Store(tmp_path / str(number) / ".madpipe"), 0, content)
        processes.append(push_command(tmp_path / str(number)))
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, f"copied 1 entries to {URL}\n", "")
    s3.on_request = lambda _: None
    assert len(s3.names()) == 3
    assert open_remote(URL).pull(other) == 1
    assert content_of(other) in contents


def test_a_push_that_is_killed_leaves_nothing_that_counts(
    s3: S3Server, tmp_path: Path, other: Store
) -> None:
    folder = tmp_path / "here"
    put(Store(folder / ".madpipe"))
    reached, go_on = threading.Event(), threading.Event()

    def hold(request: str) -> None:
        if request.startswith("PUT") and "/entries/" in request:
            reached.set()
            go_on.wait(60)
            raise ConnectionAbortedError

    s3.on_request = hold
    process = push_command(folder)
    assert reached.wait(60)
    assert len(s3.names()) == 1  # the object; the record is on its way
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.communicate()
    go_on.set()
    s3.on_request = lambda _: None
    assert open_remote(URL).pull(other) == 0
    again = push_command(folder)
    assert again.communicate(timeout=60) == (f"copied 1 entries to {URL}\n", "")
    assert open_remote(URL).pull(other) == 1
    assert content_of(other) == b"weights"


def test_ctrl_c_ends_a_push_to_a_server_that_never_answers(s3: S3Server, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    put(Store(folder / ".madpipe"))
    reached, go_on = threading.Event(), threading.Event()

    def hold(request: str) -> None:
        if request.startswith("PUT"):
            reached.set()
            go_on.wait(300)
            raise ConnectionAbortedError

    s3.on_request = hold
    process = push_command(folder)
    try:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        # Its client would wait for 90 s and more.
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        go_on.set()
    assert (process.returncode, "Traceback" in errors) == (130, False)


STUCK = """
import sys
import threading
from pipeline.cache import url_remote
from pipeline.cli.main import main

def never(*_):
    print("copying", flush=True)
    threading.Event().wait()

url_remote._ENDING_S = 0.1
url_remote.UrlRemote._write = never
main(["cache", "push", sys.argv[1]])
"""


def test_ctrl_c_ends_a_push_whose_client_does_not_heed_it(tmp_path: Path) -> None:
    put(Store(tmp_path / ".madpipe"))
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, f"file://{tmp_path}/shared"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()


SOUND = record_of(0, b"weights")
OBJECT = f"shared/v1/objects/{SOUND.outputs['out'].sha256}"
OTHER_FILE = msgspec.structs.replace(
    SOUND, outputs=record_of(0, b"weights", file="a/../../x").outputs
)
DEEP = b'{"schema":1,"parts":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
# What its writer never would leave: name, content (None: nothing), what is said of it.
HARMS: dict[str, tuple[str, bytes | None, str]] = {
    "other bytes": (OBJECT, b"wEights", "has other bytes than its name says"),
    "more bytes": (OBJECT, b"weights" * 10, "it has more than the 7 bytes"),
    "fewer bytes": (OBJECT, b"weigh", "has other bytes than its name says"),
    "no object": (OBJECT, None, "is missing, and a record names it"),
    "edited": (RECORD, SOUND.encode().replace(b"0.985", b"0.999"), "it was changed after"),
    "no record": (RECORD, bytes(100), "is no sound record"),
    "deep": (RECORD, DEEP, "is no sound record"),
    "huge": (RECORD, b" " * (9 * 2**20), "it has more than the 8388608 bytes"),
    "other key": (RECORD, record_of(1, b"weights").encode(), "it is of another stage or key"),
    "other file": (RECORD, OTHER_FILE.encode(), "its files are not those that its key names"),
    "digest": (
        RECORD,
        record_of(0, b"weights", name="../../secret").encode(),
        "the digest or size of a file is none",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_an_entry_that_is_not_what_it_says_is_reported_and_nothing_of_it_counts(
    pushed: S3Server, store: Store, other: Store, harm: str
) -> None:
    put(store, 1, b"others")
    remote = open_remote(URL)
    remote.push(store)
    name, content, message = HARMS[harm]
    if content is None:
        pushed.call("DELETE", f"/{BUCKET}/{name}")
    else:
        pushed.write(name, content)
    before = files_below(other.home.parent)
    with pytest.raises(BadEntry, match=message) as caught:
        remote.fetch(other, "make", KEY)
    assert caught.value.place.startswith(f"{URL}/v1/")
    assert "--overwrite" in caught.value.remedy
    assert files_below(other.home.parent) == before
    with pytest.raises(BadEntry, match="1 others came"):
        remote.pull(other)
    assert (content_of(other), content_of(other, 1)) == (None, b"others")
    assert remote.push(store, overwrite=True) == 2
    assert remote.pull(other) == 1
    assert content_of(other) == b"weights"


def test_a_record_whose_file_leads_out_of_its_folder_is_refused(s3: S3Server, other: Store) -> None:
    record = record_of(0, b"weights", file="../x")
    s3.write(f"shared/v1/entries/make/{record.key}.json", record.encode())
    s3.write(f"shared/v1/objects/{record.outputs['out'].sha256}", b"weights")
    with pytest.raises(BadEntry, match=r"leads out of its folder \('\.\./x'\)"):
        open_remote(URL).pull(other)
    assert "x" not in {path.name for path in other.home.parent.rglob("*")}


def test_names_that_are_no_records_are_left_alone(pushed: S3Server, other: Store) -> None:
    content = pushed.read(RECORD)
    for name in (f"entries/..%2F..%2Fx/{KEY}.json", "entries/make/x.json", f"entries/{KEY}.json"):
        pushed.write(f"shared/v1/{name}", content)
    assert open_remote(URL).pull(other) == 1
    assert content_of(other) == b"weights"


def test_damaged_entries_stay_where_they_are(s3: S3Server, store: Store) -> None:
    entry = put(store)
    entry.output("out").write_bytes(b"X")
    assert open_remote(URL).push(store) == 0
    assert s3.names() == []


UNUSABLE = {
    "credentials": "the credentials are wrong, absent, or not for this .*InvalidAccessKeyId",
    "none": "the credentials are wrong, absent, or not for this .*NoCredentialsError",
    "bucket": "there is no such bucket",
    "gone": "cannot be reached",
}


@pytest.mark.parametrize("harm", UNUSABLE)
def test_a_place_that_cannot_be_used_is_an_error_that_says_why(
    s3: S3Server, store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    entry, url = put(store), URL
    if harm == "credentials":
        s3.ask_for_signatures(after=0)
    elif harm == "none":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(other.home / "none"))
    elif harm == "bucket":
        url = "s3://nobucket/shared"
    else:
        server = S3Server()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        server.close()
    remote = open_remote(url)
    calls: list[Callable[[], object]] = [
        lambda: remote.fetch(other, "make", KEY),
        lambda: remote.pull(other),
        lambda: remote.push(store),
        lambda: remote.push_entry(entry),
    ]
    for call in calls:
        with pytest.raises(RemoteError, match=UNUSABLE[harm]) as caught:
            call()
        assert caught.value.place == url
        assert not isinstance(caught.value, BadEntry)
        if harm in ("credentials", "none"):
            assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    assert files_below(other.home / "work") == []


def test_a_stop_ends_a_download(pushed: S3Server, other: Store) -> None:
    assert pushed.names()
    with pytest.raises(Interrupted):
        open_remote(URL, stop_asked=lambda: True).fetch(other, "make", KEY)
    assert files_below(other.home / "work") == []


def test_after_a_fault_no_more_entries_are_begun(
    s3: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_LONGEST_S", 0.5)
    for seed in range(30):
        put(store, seed, b"%d" % seed)

    def drop(request: str) -> None:
        if request.startswith("PUT"):
            raise ConnectionAbortedError

    s3.on_request = drop
    with pytest.raises(RemoteError, match=r"cannot be reached \(TimeoutError"):
        open_remote(URL).push(store)
    assert 0 < len([request for request in s3.requests if request.startswith("PUT")]) <= 8


def test_an_entry_that_goes_away_while_it_is_pushed_is_no_fault_of_the_place(
    s3: S3Server, store: Store
) -> None:
    entry = put(store)
    entry.output("out").unlink()
    with pytest.raises(StoreError, match="cannot be read") as caught:
        open_remote(URL).push_entry(entry)
    assert not isinstance(caught.value, RemoteError)
    assert s3.names() == []
