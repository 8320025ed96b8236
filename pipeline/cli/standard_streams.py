"""Standard output and standard error that may be closed, full, or read by what goes away."""

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import MadpipeError
from pipeline.signals import STOPS_WITH_READER

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STANDARD_ERROR = 2
_NAMES = {1: "standard output", 2: "standard error"}


def prepare() -> None:
    """Make this process's streams fit to be written to, whatever the caller did with them."""
    _open_closed()
    for number, name in enumerate(("stdout", "stderr"), start=1):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # A terminal may lack the letters of a class or of a file.
        stream.reconfigure(errors="backslashreplace")
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _guarded(stream, number))


class Guarded(io.FileIO):
    """A stream of this process in which a failed write is no fault of the files it works on.

    Where the reader of a pipe went away (`| head -1`), nobody is left to write for, and the command
    goes on in silence: what it computes is stored all the same. So it does where standard error
    cannot be written, since there is nowhere to say it. A job of a sweep is asked to stop instead:
    the sweep is gone, and the next one would wait for what it left running.
    """

    def __init__(self, number: int) -> None:
        """Write to file descriptor 1 or 2, which stays open."""
        super().__init__(number, "w", closefd=False)

    def write(self, content: "ReadableBuffer") -> int:
        """Write; a MadpipeError where a disk is full, and not an OSError."""
        try:
            return super().write(content) or 0
        except OSError as error:
            number = self.fileno()
            # What is still in buffers goes nowhere, also at the end of the process.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
            if isinstance(error, BrokenPipeError) and os.environ.get(STOPS_WITH_READER):
                signal.raise_signal(signal.SIGTERM)
            if isinstance(error, BrokenPipeError) or number == _STANDARD_ERROR:
                return memoryview(content).nbytes
            wrong = f"cannot be written ({error.strerror or error})"
            remedy = "free space there or write it elsewhere, then repeat the command"
            raise MadpipeError(_NAMES[number], wrong, f"{remedy}; what is stored stays") from error


def _guarded(stream: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    with contextlib.suppress(OSError):  # nothing was written yet but what other libraries print
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Guarded(number)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_closed() -> None:
    """Lead streams that the caller closed to nowhere; a file opened later would get their text."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
