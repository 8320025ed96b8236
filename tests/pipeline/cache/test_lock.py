"""One writer at a time, across real processes; a killed one releases it."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.cache import lock_holder
from pipeline.cache.lock import write_lock
from pipeline.cache.lock_holder import Holder
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError, StoreError

HOLDER = """
import sys
from pathlib import Path
from pipeline.cache import lock_holder
from pipeline.cache.lock import write_lock
from pipeline.cache.lock_holder import Holder
from pipeline.cache.store import Store
with write_lock(Store(Path(sys.argv[1])), command="madpipe run all"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its standard input ends or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def hold(
    store: Store,
    *,
    wait_s: float = 0.0,
    on_wait: Callable[[str], None] = lambda _: None,
    stop_asked: Callable[[], bool] = lambda: False,
) -> contextlib.AbstractContextManager[None]:
    return write_lock(
        store, wait_s=wait_s, command="madpipe plan", on_wait=on_wait, stop_asked=stop_asked
    )


def test_lock_file_names_the_holder_while_it_holds(store: Store) -> None:
    record = store.home / "lock.json"
    with hold(store):
        holder_record = json.loads(record.read_text(encoding="utf-8"))
        assert (holder_record["pid"], holder_record["command"]) == (os.getpid(), "madpipe plan")
    assert not record.exists()


def test_second_process_sees_the_pid_and_command_of_the_first(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LockedError) as caught, hold(store):
        pass
    message = str(caught.value)
    assert message.startswith(f"{store.home}: another process is writing here (process ")
    assert f"(process {holder.pid} on " in message
    assert message.endswith(
        ": madpipe run all); wait for it, stop it, or give this run a longer run.lock_wait_s"
    )
    assert caught.value.exit_code == 1


def test_second_process_waits_until_the_first_is_done(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    messages: list[str] = []

    def on_wait(text: str) -> None:
        messages.append(text)
        holder.terminate()

    with hold(store, wait_s=60, on_wait=on_wait):
        holder.wait()
    assert messages == [
        (
            f"waiting for process {holder.pid} on {os.uname().nodename}: madpipe run all, "
            f"which is writing to {store.home}"
        )
    ]


def test_killed_process_releases_it(store: Store, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (store.home / "lock.json").exists()
    with hold(store):
        holder_record = json.loads((store.home / "lock.json").read_text(encoding="utf-8"))
        assert holder_record["pid"] == os.getpid()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_what_makes_room_holds_it_without_a_name_on_a_full_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    store.prepare()
    record = store.home / "lock.json"

    def write_bytes(self: Path, _content: bytes) -> int:
        self.touch()
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    notes: list[str] = []
    with write_lock(store, command="cache gc", on_unnamed=notes.append):
        assert not record.exists()
        with pytest.raises(LockedError, match="not named itself yet"), hold(store):
            pass
    assert notes == [f"{record}: no room to name this process for others ({os.strerror(code)})"]
    with pytest.raises(StoreError, match=r"lock\.json: cannot be read or written"), hold(store):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", "3"])
def test_holder_without_a_readable_record_is_named_as_such(
    store: Store, holder: subprocess.Popen[str], content: str
) -> None:
    assert holder.poll() is None
    (store.home / "lock.json").write_text(content, encoding="utf-8")
    with pytest.raises(LockedError, match="a process that has not named itself yet"), hold(store):
        pass


def test_stop_ends_the_waiting(store: Store, holder: subprocess.Popen[str]) -> None:
    assert holder.poll() is None
    with (
        pytest.raises(Interrupted, match="interrupted while waiting; repeat the command"),
        hold(store, wait_s=60, stop_asked=lambda: True),
    ):
        pass


def test_error_while_holding_releases_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), hold(store):
        _ = 1 / 0
    with hold(store):
        pass


def test_second_thread_of_one_process_is_kept_out_too(store: Store) -> None:
    caught: list[BaseException] = []

    def second() -> None:
        try:
            with hold(store):
                pass
        except LockedError as error:
            caught.append(error)

    with hold(store):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(caught) == 1


@pytest.mark.parametrize("name", ["lock", "lock.json"])
def test_lock_that_cannot_be_written_is_an_error_that_names_it(store: Store, name: str) -> None:
    (store.home / name).mkdir()
    with pytest.raises(StoreError, match=f"{name}: cannot be read or written"), hold(store):
        pass


OTHER_MACHINE = Holder(pid=7, host="other-machine", command="madpipe run all", boot="another")


def name_holder(store: Store, holder: Holder) -> None:
    (store.home / "lock.json").write_bytes(msgspec.json.encode(holder))


def test_holder_on_another_machine_is_to_be_stopped_there(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    assert holder.poll() is None
    name_holder(store, OTHER_MACHINE)
    with pytest.raises(LockedError) as caught, hold(store):
        pass
    message = str(caught.value)
    assert "process 7 on other-machine: madpipe run all" in message
    assert "stop it on other-machine" in message


def test_name_that_a_dead_machine_left_is_taken_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holder, "SILENCE_S", 0.3)
    name_holder(store, OTHER_MACHINE)
    messages: list[str] = []
    with hold(store, on_wait=messages.append):
        record = msgspec.json.decode((store.home / "lock.json").read_bytes(), type=Holder)
        assert record.pid == os.getpid()
    assert messages == [
        "looking for 0 s whether process 7 on other-machine: madpipe run all still runs"
    ]


def test_holder_whom_the_lock_does_not_reach_keeps_the_folder(store: Store) -> None:
    name_holder(store, OTHER_MACHINE)
    record = store.home / "lock.json"

    def give_a_sign(_: str) -> None:
        os.utime(record, ns=(0, 0))

    def look(text: str) -> None:
        threading.Timer(0.3, give_a_sign, [text]).start()

    with pytest.raises(LockedError, match="which the lock does not reach") as caught:
        hold(store, on_wait=look).__enter__()
    assert "one machine at a time" in str(caught.value)
    assert msgspec.json.decode(record.read_bytes(), type=Holder) == OTHER_MACHINE
    record.unlink()
    with hold(store):
        pass


def test_name_that_goes_while_it_is_looked_for_frees_the_folder(store: Store) -> None:
    name_holder(store, OTHER_MACHINE)
    with hold(store, on_wait=lambda _: (store.home / "lock.json").unlink()):
        pass


def test_stop_ends_the_looking(store: Store) -> None:
    name_holder(store, OTHER_MACHINE)
    with pytest.raises(Interrupted), hold(store, stop_asked=lambda: True):
        pass


@pytest.mark.parametrize(
    "changes", [{"host": os.uname().nodename}, {"boot": Holder.here("").boot}], ids=str
)
def test_name_left_by_a_killed_process_of_this_machine_is_taken_over_at_once(
    store: Store, changes: dict[str, str]
) -> None:
    name_holder(store, msgspec.structs.replace(OTHER_MACHINE, **changes))
    messages: list[str] = []
    with hold(store, on_wait=messages.append):
        pass
    assert not messages


def test_second_writer_that_came_through_is_not_kept_quiet(store: Store) -> None:
    with pytest.raises(StoreError, match="wrote here at the same time"), hold(store):
        name_holder(store, OTHER_MACHINE)
    assert (store.home / "lock.json").exists(), "the other's name is not ours to remove"


def test_holder_gives_signs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_holder, "BEAT_S", 0.01)
    record = store.home / "lock.json"
    with hold(store):
        holder_record = msgspec.json.decode(record.read_bytes(), type=Holder)
        assert lock_holder.runs(record, holder_record, lambda: False)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_lets_nobody_write(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def no_lock(_fd: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.raises(StoreError) as caught, hold(store):
        pass
    message = str(caught.value)
    assert message.startswith(f"{store.home / 'lock'}: its file system has no locks that keep two")
    assert f"({os.strerror(code)})" in message
    assert "MADPIPE_HOME" in message
    assert not (store.home / "lock.json").exists()
