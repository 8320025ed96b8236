"""Checkpoints of training: named tensors and numbers, saved and loaded without pickled code."""

from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

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


def load(path: Path) -> State:
    """Return what `save` wrote."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state
