"""Other machines: locks that they have or left, and file systems without locks that work."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.reliability import small_project
from benchmarks.reliability.processes.together import HOME, Alone

_LONGEST_S = 300.0
_OTHER_HOST = "other-machine"
_HOLDER = """
import sys, time
from pathlib import Path
from pipeline.cache.lock import write_lock
from pipeline.cache.store import Store
with write_lock(Store(Path(sys.argv[1])), command="madpipe run all"):
    print("held", flush=True)
    time.sleep(600)
"""
# A host name and a boot of the kernel of its own, as another machine has them.
_NAMESPACES = (
    'hostname other-machine && mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
)


def not_implemented(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run where `flock` is not implemented."""
    return _without_locks(folder, "ENOSYS", "Function not implemented")


def none_available(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run where a file server has no locks."""
    return _without_locks(folder, "ENOLCK", "No locks available")


def not_supported(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run where locks are not supported."""
    return _without_locks(folder, "EOPNOTSUPP", "Operation not supported")


def held(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run while another machine has the lock: the message says where to stop it."""
    project, holder = _held_elsewhere(folder)
    try:
        ended = _run(project)
    finally:
        _kill(holder)
    wanted = f"stop it on {_OTHER_HOST}", "another process is writing here (process "
    return _refused(ended, project, wanted)


def dead(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run after another machine died with the lock: it is looked for, and then taken over."""
    project, holder = _held_elsewhere(folder)
    _kill(holder)
    if not (project / HOME / "lock.json").is_file():
        return "the dead machine left no name"
    ended = small_project.run(project, "run", "teacher", limit_s=_LONGEST_S)
    text = ended.stdout + ended.stderr
    if ended.code or f"on {_OTHER_HOST}: madpipe run all still runs" not in text:
        return f"expected 0 and a look for it, ended with {ended.code}: {text[-400:]}"
    return ""


def unreached(folder: Path, _alone: Alone, _random: Random) -> str:
    """Run where the lock of another machine, which goes on, does not reach this one."""
    project, holder = _held_elsewhere(folder, inject="retval=0")
    try:
        ended = _run(project)
    finally:
        _kill(holder)
    wanted = "which the lock does not reach (process ", "one machine at a time"
    return _refused(ended, project, wanted)


def _without_locks(folder: Path, error: str, text: str) -> str:
    project = small_project.write(folder / "project")
    command = [*_strace(f"error={error}"), str(small_project.MADPIPE), "run", "all"]
    # Two at once: neither may run, and neither may leave what keeps a later one out.
    processes = [_popen(command, project) for _ in range(2)]
    for process in processes:
        stdout, stderr = process.communicate(timeout=_LONGEST_S)
        ended = small_project.Ended(process.returncode, stdout, stderr)
        wanted = f"no locks that keep two writers apart ({text})", "MADPIPE_HOME"
        if fault := _refused(ended, project, wanted):
            return fault
    return ""


def _refused(ended: small_project.Ended, project: Path, wanted: Sequence[str]) -> str:
    """Return what is wrong with a run that had to be refused; empty: nothing."""
    missing = [text for text in wanted if text not in ended.stderr]
    if ended.code != 1 or missing or "Traceback" in ended.stderr or "Warning" in ended.stderr:
        return f"expected 1 and {wanted}, ended with {ended.code}: {ended.stderr[-400:]}"
    if any((project / HOME / name).exists() for name in ("work", "entries")):
        return "expected nothing to be written, saw a stage's folder"
    return ""


def _run(project: Path) -> small_project.Ended:
    options = ("--set", "run.lock_wait_s=0")
    return small_project.run(project, "run", "all", *options, limit_s=_LONGEST_S)


def _held_elsewhere(folder: Path, inject: str = "") -> tuple[Path, subprocess.Popen[str]]:
    """Start what is another machine, as far as it can know, and return when it has the lock."""
    project = small_project.write(folder / "project")
    boot = folder / "boot_id"
    boot.write_text("00000000-0000-0000-0000-000000000000\n", encoding="ascii")
    command = ["unshare", "--uts", "--mount", "sh", "-c", _NAMESPACES, str(boot)]
    command += _strace(inject) if inject else []
    command += [sys.executable, "-P", "-c", _HOLDER, str(project / HOME)]
    process = _popen(command, project)
    assert process.stdout is not None
    if process.stdout.readline() != "held\n":
        _kill(process)
        _, stderr = process.communicate()
        message = f"no other machine could be made: {stderr.strip()[-200:]}"
        raise RuntimeError(message)
    return project, process


def _strace(inject: str) -> list[str]:
    assert shutil.which("strace") is not None, "strace is not installed"
    options = ["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=flock"]
    return ["strace", *options, "-e", f"inject=flock:{inject}"]


def _popen(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        command,
        cwd=folder,
        env=small_project.environment(PYTHONPATH=root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process with all that it started, and wait for the last of them."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.2)  # children of strace end after it
