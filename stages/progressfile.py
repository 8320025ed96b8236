"""Checkpoints of training: named tensors and numbers, saved and loaded without pickled code."""

import io
from pathlib import Path
from typing import Any

import torch

from pipeline.atomic import write_bytes

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write a nested dict of tensors and plain values.

    Raises:
        OSError: The disk is full or read-only.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> State:
    """Return what `save` wrote."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state
