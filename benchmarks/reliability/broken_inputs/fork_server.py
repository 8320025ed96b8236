"""A process that has all heavy modules imported and forks a madpipe command for each request.

A start of Python with torch takes seconds, a fork of a process that has it takes milliseconds. The
fork runs the real command line in a folder, with limits, and tells of itself what no input may
bring about. It does nothing but imports before it forks, so that no thread is lost in a fork.

Requests and answers are lines of JSON on standard input and output.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import psutil

from benchmarks.reliability import small_project
from benchmarks.reliability.broken_inputs import actions

MAX_BYTES = 2 * 1024**3
MAX_SECONDS = 20.0
_MAX_PRIVATE_BYTES = 12 * 1024**3
"""At which an allocation fails, whoever is to be blamed: the machine has other work."""
_MAX_FILE_BYTES = 1024**3
_LOOK_S = 0.01
COMPILED = "torchinductor"
"""Among the temporary files: what torch keeps of its own."""
_MAX_NOTES = 20
_PR_SET_CHILD_SUBREAPER = 36
_HEAVY = (
    *("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy", "PIL.Image", "scipy"),
    *("safetensors.torch", "torch.export", "matplotlib.figure", "jinja2", "psutil", "filelock"),
    *("pipeline.cli.main", "stages.standalone", "stages.data.folder", "stages.doctor"),
    *("stages.networks.factory", "stages.networks.weights", "pipeline.report.document"),
    *("pipeline.report.html", "pipeline.report.plots", "matplotlib.backends.backend_svg"),
    *("stages.packaging.archive", "stages.packaging.contents", "fsspec", "multiprocessing"),
    *("stages.teacher.stage", "stages.export.stage", "stages.build.stage", "stages.validate.stage"),
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run."""

    arguments: list[str]
    folder: str
    """Of the case: `project` in it is where the command runs; the rest is made and filled here."""
    targets: list[str]
    """Files and folders, relative to the project, that the command line names for writing."""
    is_fresh: bool = False
    """Whether a process of its own runs it, which starts as a user's does and tells nothing."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended."""

    code: int
    """Below 0: the signal that ended it."""
    seconds: float
    peak_bytes: int
    killed_for: str = ""
    """The limit that it broke, where it was killed for that."""
    left_running: int = 0
    """Processes of it that outlived it."""


class Layout(NamedTuple):
    """The folders and files of a case."""

    folder: Path

    @property
    def project(self) -> Path:
        """Where the command runs."""
        return self.folder / "project"

    @property
    def foreign(self) -> Path:
        """Files of somebody else, beside the project."""
        return self.folder / "foreign"

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        """For temporary files."""
        return self.folder / "tmp"

    @property
    def notes(self) -> Path:
        """What the command did that no input may bring about, a line each."""
        return self.folder / "notes"

    def stream(self, name: str) -> Path:
        """Return where a standard stream of the command goes."""
        return self.folder / name


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sys.dont_write_bytecode = True
    for name in _HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = msgspec.convert(json.loads(line), Request)
        ended = _serve(request)
        answers.write(json.dumps(msgspec.to_builtins(ended)) + "\n")
        answers.flush()
    os._exit(0)  # what native libraries count at an end is of no interest


def _serve(request: Request) -> Ended:
    """Fork a process for a request and wait for it."""
    begin_s = time.perf_counter()
    number = os.fork()
    if number == 0:
        _become(request)
    killed_for = _watch(number, begin_s)
    _, status, used = os.wait4(number, 0)
    left = sum(map(_ended, psutil.Process().children(recursive=True)))
    for _ in _reaped():
        pass
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        seconds=time.perf_counter() - begin_s,
        peak_bytes=used.ru_maxrss * 1024,
        killed_for=killed_for,
        left_running=0 if killed_for else left,
    )


def _ended(process: psutil.Process) -> bool:
    """End a process; return whether it ran."""
    try:
        is_running = process.status() != psutil.STATUS_ZOMBIE
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return is_running


def _reaped() -> Iterator[int]:
    """Yield every process that this one had to wait for."""
    while True:
        try:
            number, _ = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        yield number


def _watch(number: int, begin_s: float) -> str:
    """Wait until a process has ended; kill it for a limit that it breaks, and return which."""
    descriptor = os.pidfd_open(number)
    page_bytes = resource.getpagesize()
    memory = Path(f"/proc/{number}/statm")
    try:
        while not select.select([descriptor], [], [], _LOOK_S)[0]:
            wrong = ""
            if time.perf_counter() - begin_s > MAX_SECONDS:
                wrong = f"{MAX_SECONDS:g} s"
            elif int(memory.read_text().split()[1]) * page_bytes > MAX_BYTES:
                wrong = f"{MAX_BYTES / 1024**3:g} GiB"
            if wrong:
                os.kill(number, signal.SIGKILL)
                return wrong
        return ""
    finally:
        os.close(descriptor)


def _become(request: Request) -> NoReturn:
    """Be the command: in its folder, with its limits and streams, to its end."""
    code = 99
    try:
        code = _command(request)
    except BaseException:  # noqa: BLE001  (nothing of the parent may run in a fork)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(request: Request) -> int:
    layout = Layout(Path(request.folder))
    os.setsid()
    os.chdir(layout.project)
    notes = os.open(layout.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(layout.stream(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_PRIVATE_BYTES, _MAX_PRIVATE_BYTES))
    changes = {
        "HOME": str(layout.home),
        "TMPDIR": str(layout.temporary),
        "TORCHINDUCTOR_CACHE_DIR": str(layout.temporary / COMPILED),
    }
    if request.is_fresh:
        os.execve(  # noqa: S606  (our own command)
            small_project.MADPIPE,
            [b"madpipe", *map(os.fsencode, request.arguments)],
            small_project.environment(**changes, PYTHONDONTWRITEBYTECODE="1"),
        )
    os.environ.update(changes)
    tempfile.tempdir = None
    sys.argv = ["madpipe", *request.arguments]
    writable = [layout.project, layout.temporary, *map(layout.project.joinpath, request.targets)]
    folders = actions.Folders(
        project=os.path.realpath(layout.project),
        foreign=os.path.realpath(layout.foreign),
        writable=tuple(os.path.realpath(path) for path in writable),
    )
    actions.install(folders, _noting(notes))
    return _exit_code(request.arguments)


def _noting(descriptor: int) -> Callable[[str], None]:
    count = 0

    def note(text: str) -> None:
        nonlocal count
        count += 1
        if count <= _MAX_NOTES:
            os.write(descriptor, ascii(text).encode() + b"\n")

    return note


def _exit_code(arguments: list[str]) -> int:
    """Run madpipe and return its exit code."""
    from pipeline.cli.main import main as madpipe  # noqa: PLC0415  (imported long since)

    try:
        madpipe(list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    main()
