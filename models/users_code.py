"""What the user's own file may do while it is imported and called, and what is said if it fails.

Such files are often scripts: they read a command line, print, ask for a GPU, open files.
"""

import argparse
import contextlib
import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import torch

from pipeline.errors import error_summary, first_line

SHIELDED_ERRORS = (Exception, SystemExit)
"""What code of the user's may raise; an interruption is none of its own."""
_GPU_WORDS = ("CUDA", "cuda", "NVIDIA", "HIP")


@contextlib.contextmanager
def as_script(path: Path) -> Iterator[None]:
    """Let a file read its own, empty command line, and print to standard error.

    Standard output is for results, which programs may read. The folder and torch's defaults that
    it changes for itself are put back.
    """
    argv, argparse_error = sys.argv, argparse.ArgumentParser.error
    folder, dtype, is_learning = Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    sys.argv = [str(path)]
    argparse.ArgumentParser.error = _exit_with  # type: ignore[assignment]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        argparse.ArgumentParser.error = argparse_error  # type: ignore[method-assign]
        sys.argv = argv
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(is_learning)
        if torch.get_default_device() != device:
            # Nobody else sets one; naming the CPU would leave a mode on, and tracing blind in it.
            torch.set_default_device(None)


def _exit_with(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """End as argparse does, without its usage text, which would be of no command of the user's."""
    raise SystemExit(message)


def fault(error: BaseException, path: Path) -> tuple[str, str]:
    """Return what is wrong, with the line of the user's file or of a neighbour, and the remedy."""
    line = _line(error, path)
    if isinstance(error, SystemExit):
        wrong = f"ends the program ({line}: {error.code})"
        return wrong, "put what a script does when it is run below if __name__ == '__main__'"
    wrong = f"raises {error_summary(error)} ({line})"
    if any(word in str(error) for word in _GPU_WORDS):
        return wrong, "return the network on the CPU; madpipe moves it to a GPU where one is"
    if isinstance(error, FileNotFoundError):
        return (
            wrong,
            f"name the file from Path(__file__).parent: relative paths start at {Path.cwd()}",
        )
    if isinstance(error, ModuleNotFoundError):
        return wrong, f"install {error.name}, or put it beside the file"
    return wrong, "correct it"


def _line(error: BaseException, path: Path) -> str:
    """Return the last line of the user's code that was reached, as `FILE:NUMBER: text`."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {first_line(error)}"
    folder = path.parent.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.resolve().is_relative_to(folder) and "site-packages" not in file.parts:
            text = linecache.getline(frame.filename, frame.lineno or 0).strip()
            return f"{frame.filename}:{frame.lineno}: {text}"
    return str(path)
