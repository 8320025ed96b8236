"""A signal comes at the call that was named, and at no other."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import fault_points, marked_processes
from benchmarks.reliability.fault_points import Call, Strike

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="needs gcc, Linux"
)
# Two files, each written beside its name and renamed.
PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
os.mkdir("sub")
for name in ("a", "sub/b"):
    with open(f"{name}.7.part", "wb", buffering=0) as file:
        file.write(b"12345678")
        os.fsync(file.fileno())
    os.replace(f"{name}.7.part", name)
    os.chmod(name, 0o600)
os.unlink("a")
"""
CALLS = [
    ("mkdir", "sub"),
    ("open", "a.7.part"),
    ("write", "a.7.part"),
    ("fsync", "a.7.part"),
    ("rename", "a"),
    ("chmod", "a"),
    ("open", "sub/b.7.part"),
    ("write", "sub/b.7.part"),
    ("fsync", "sub/b.7.part"),
    ("rename", "sub/b"),
    ("chmod", "sub/b"),
    ("unlink", "a"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fault_points.library(tmp_path_factory.mktemp("library"))


def play(library: Path, folder: Path, strike: Strike | None) -> tuple[int, str, dict[str, bytes]]:
    """Return the exit code of the program, its output, and what lies in its folder."""
    root = folder / "root"
    root.mkdir()
    watched = fault_points.variables(library, root=root, log=folder / "log", strike=strike)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        env=os.environ | watched,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    files = {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}
    return done.returncode, done.stdout, {name: p.read_bytes() for name, p in files.items()}


def test_every_call_that_changes_a_file_is_noted(library: Path, tmp_path: Path) -> None:
    assert play(library, tmp_path, None) == (0, "", {"sub/b": b"12345678"})
    assert fault_points.calls(tmp_path / "log") == [Call(*call) for call in CALLS]
    assert not fault_points.struck(tmp_path / "log")


@pytest.mark.parametrize(
    ("strike", "left"),
    [
        (Strike(signal.SIGKILL, 1, Call("rename", "a")), {"a.7.part": b"12345678"}),
        (Strike(signal.SIGKILL, 1, Call("write", "a*")), {"a.7.part": b""}),
        (Strike(signal.SIGKILL, 1, Call("write", ""), is_torn=True), {"a.7.part": b"1234"}),
        (
            Strike(signal.SIGKILL, 2, Call("write", "@(a|sub/b).*.part")),
            {"a": b"12345678", "sub/b.7.part": b""},
        ),
        (
            Strike(signal.SIGKILL, 3, after="a"),
            {"a": b"12345678", "sub/b.7.part": b""},
        ),
    ],
)
def test_a_kill_comes_before_the_call(
    library: Path, tmp_path: Path, strike: Strike, left: dict[str, bytes]
) -> None:
    assert play(library, tmp_path, strike) == (-signal.SIGKILL, "", left)
    assert fault_points.struck(tmp_path / "log")


def test_another_signal_goes_to_the_process_which_goes_on(library: Path, tmp_path: Path) -> None:
    strike = Strike(signal.SIGTERM, 1, Call("fsync", "sub/b.*.part"))
    assert play(library, tmp_path, strike) == (0, "asked\n", {"sub/b": b"12345678"})


def test_what_differs_from_run_to_run_is_a_pattern_in_a_place() -> None:
    assert Call("open", "runs/20260101T000000.000000Z-7.json.7.part").place.path == (
        "runs/*.json.*.part"
    )
    assert Call("mkdir", "work/build/ab/out/madpipe-a1_b2c3d").place.path == (
        "work/build/ab/out/madpipe-????????"
    )
    noted = [Call("write", "a.7.part"), Call("rename", "a"), Call("write", "a.9.part")]
    assert fault_points.places(noted) == {Call("write", "a.*.part"): 2, Call("rename", "a"): 1}


def test_a_process_is_found_by_its_environment_until_it_ends() -> None:
    mark = f"mark-{os.getpid()}-{id(object())}"
    program = [sys.executable, "-c", "input()"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, env=os.environ | {"X": mark}) as child:
        assert marked_processes.appeared(mark, "input()", within_s=60.0) == child.pid
        assert len(marked_processes.gone(mark, within_s=0.0)) == 1
        child.kill()
    assert marked_processes.gone(mark, within_s=60.0) == []
    assert marked_processes.appeared(mark, "input()", within_s=0.0) is None
