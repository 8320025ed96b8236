"""Checkpoints of training: named tensors and numbers, saved and loaded without pickled code."""

from pathlib import Path
from typing import Any

import torch

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write a nested dict of tensors and plain values, tensor by tensor.

    Raises:
        OSError: The disk is full or read-only.
    """
    with path.open("wb") as file:
        torch.save(state, file)


def load(path: Path) -> State:
    """Return what `save` wrote."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state
