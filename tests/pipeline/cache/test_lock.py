"""One writer at a time, across real processes; a killed one releases it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
from pipeline.errors import Interrupted, LockedError, StoreError

HOLDER = """
import sys
from pathlib import Path
from pipeline.cache.lock import write_lock
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
