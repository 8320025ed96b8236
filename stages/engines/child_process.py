"""Programs of ours in a process of their own, where native code that crashes ends no run.

A program is a module that gets the path of a file with its request and answers in lines of JSON.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from pipeline.atomic import scratch_folder, write_bytes

_ROOT = Path(__file__).parents[2]
_MAX_CHARACTERS = 300


@dataclass(slots=True)
class Child:
    """A program that runs."""

    process: "subprocess.Popen[bytes]"
    messages: BinaryIO
    """What it writes to standard error."""
    longest_s: float | None
    is_late: bool = False
    """Whether it was ended for taking longer than that."""

    def lines(self) -> Iterator[bytes]:
        """Yield each line that it answers, until it ends."""
        assert self.process.stdout is not None
        yield from self.process.stdout
        self.process.wait()

    def how_it_ended(self) -> str:
        """Return how a program ended that has, with the last line of its messages."""
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1].strip()[:_MAX_CHARACTERS]}" if lines else ""
        if self.is_late:
            return f"not done after {self.longest_s:g} s{last}"
        return f"{ending(self.process.returncode)}{last}"

    def end(self) -> None:
        """Kill it for taking too long."""
        self.is_late = True
        self.kill()

    def kill(self) -> None:
        """Kill it and its forks, which hold the other end of `lines` as well."""
        if sys.platform == "win32":
            self.process.kill()
        elif self.process.returncode is None:  # its number is not another's yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def ending(code: int) -> str:
    """Return how a process ended, by its exit code, which is below 0 for signals."""
    try:
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        return f"killed by signal {-code}"


@contextlib.contextmanager
def started(
    program: str, request: msgspec.Struct, *, longest_s: float | None = None
) -> Iterator[Child]:
    """Yield a program that was started with a request; at the end it is ended, too.

    Args:
        program: The name of its module.
        request: What it gets as JSON.
        longest_s: After so many seconds it is killed; None: never.
    """
    # The child finds the modules that this process runs from.
    python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with scratch_folder() as folder:
        path = folder / "request.json"
        write_bytes(path, msgspec.json.encode(request))
        with (
            (folder / "messages").open("w+b") as messages,
            subprocess.Popen(  # noqa: S603  (our own module)
                [sys.executable, "-P", "-m", program, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=messages,
                env=os.environ | {"PYTHONPATH": python_path},
                start_new_session=True,  # Ctrl-C is ours to pass on
            ) as process,
        ):
            child = Child(process, messages, longest_s)
            timer = threading.Timer(longest_s or 0.0, child.end)
            timer.daemon = True
            if longest_s is not None:
                timer.start()
            try:
                yield child
            finally:
                timer.cancel()
                child.kill()
                process.wait()


def answers() -> BinaryIO:
    """Return where this process, a child, answers; all else that it prints goes to standard error.

    Prints of native code, too, are kept out of the lines of JSON.
    """
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return channel
