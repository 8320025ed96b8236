"""A program in a process of its own ends with all that it started."""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from stages.engines import child_process

FORKING = """
import os, time
from stages.engines import child_process
channel = child_process.answers()
pid = os.fork()
if pid:
    channel.write(b"%d\\n" % pid)
    channel.flush()
    os.waitpid(pid, 0)
time.sleep(600)
"""


class Request(msgspec.Struct):
    """Nothing is asked for."""


@pytest.fixture
def forking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a program that waits for a fork which never ends."""
    (tmp_path / "forking.py").write_text(FORKING, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "forking"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(sys.platform != "linux", reason="programs fork on Linux alone")
@pytest.mark.parametrize("is_late", [True, False])
def test_a_fork_that_hangs_ends_with_its_program(forking: str, *, is_late: bool) -> None:
    pids: list[int] = []
    try:
        with child_process.started(forking, Request(), longest_s=300) as child:
            for line in child.lines():
                pids.append(int(line))
                if not is_late:
                    break
                child.end()
            if is_late:
                assert child.how_it_ended().startswith("not done after")
        deadline = time.monotonic() + 30
        while is_running(pids[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(pids[0])
    finally:
        for pid in filter(is_running, pids):
            os.kill(pid, signal.SIGKILL)
