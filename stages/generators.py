"""Generators of a distill run, read from their files, and the noise that they take.

Shape legend: B batch, Z noise.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.generator import Generator
from models.multi_scale import build_generator
from pipeline import stored_files
from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.networks import weights

_METADATA = "madpipe.generator"


def load(path: Path, place: str) -> Generator:
    """Return a generator of a distill run, on the CPU, whose weights get no gradients.

    Raises:
        StageError: There is no such file, or it holds no generator; `place` is what named it.
    """
    try:
        with safe_open(str(path), "pt") as file:
            arguments = stored_files.loads((file.metadata() or {}).get(_METADATA, "null"))
    except (OSError, SafetensorError, ValueError) as error:
        remedy = "distil again: madpipe run distill --force distill"
        raise StageError(place, f"is no generator ({path}: {error})", remedy) from error
    if not isinstance(arguments, dict):
        wrong = f"is no generator of a distill run ({path}: no {_METADATA} in it)"
        raise StageError(place, wrong, "name a generator.safetensors of a run")
    tensors = weights.read(path, place)
    try:
        with torch.device("meta"):  # which needs no memory, whatever size is asked for
            expected = build_generator(**arguments).state_dict()
        _check_shapes(expected, tensors)
        generator = build_generator(**arguments)
        generator.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError, LookupError, MemoryError, OverflowError) as error:
        wrong = f"describes no generator that its weights fit ({path}: {first_line(error)})"
        remedy = "distil again: madpipe run distill --force distill"
        raise StageError(place, wrong, remedy) from error
    return generator.requires_grad_(requires_grad=False)


def _check_shapes(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where weights are not of the network that was expected."""
    wrong = [
        name
        for name, tensor in expected.items()
        if name not in tensors or tensors[name].shape != tensor.shape
    ]
    if wrong:
        message = f"{wrong[0]} is missing or of another size"
        raise ValueError(message)


def noise(generator: Generator, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Return noise of shape BZ for `count` images, and labels of shape B where it takes some."""
    z_BZ = torch.randn((count, generator.noise_dim), generator=rng, device=rng.device)
    if not generator.num_classes:
        return z_BZ, None
    y_B = torch.randint(generator.num_classes, (count,), generator=rng, device=rng.device)
    return z_BZ, y_B
