"""Checkpoints of training: named tensors and numbers, saved and loaded without pickled code."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from stages.training.device import is_lack_of_memory

State = dict[str, Any]


class _Remembering:
    """A file that keeps why it could not be written: torch says no more than that it was not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def save(path: Path, state: State) -> None:
    """Write a nested dict of tensors and plain values, tensor by tensor.

    Raises:
        OSError: The disk is full or read-only.
    """
    with path.open("wb") as file:
        remembering = _Remembering(file)
        try:
            torch.save(state, cast("BinaryIO", remembering))
        except RuntimeError as error:
            if remembering.error is None:
                raise
            raise remembering.error from error


def load_if_sound(path: Path | None, on_note: Callable[[str], None]) -> State | None:
    """Return what `save` wrote, None without a file or, with a note, where it is damaged.

    Raises:
        OSError: The disk cannot be read.
        RuntimeError: There is no memory for it.
    """
    if path is None:
        return None
    try:
        state = load(path)
    except Exception as error:  # of many classes, by what it meets in the file
        is_of_disk = isinstance(error, OSError) and error.errno != errno.EINVAL  # as of a cut file
        if is_of_disk or is_lack_of_memory(error):
            raise
        state = None
    if isinstance(state, dict):
        return state
    on_note(f"warning: the checkpoint is damaged, so that the stage begins anew ({path})")
    return None


def load(path: Path) -> State:
    """Return what `save` wrote."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state
