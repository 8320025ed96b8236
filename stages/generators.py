"""Generators of a distill run, read from their files, and the noise that they take.

Shape legend: B batch, Z noise.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.generator import Generator
from models.multi_scale import build_generator
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
            arguments = json.loads((file.metadata() or {}).get(_METADATA, "null"))
    except (OSError, SafetensorError, ValueError) as error:
        remedy = "distil again: madpipe run distill --force distill"
        raise StageError(place, f"is no generator ({path}: {error})", remedy) from error
    if not isinstance(arguments, dict):
        wrong = f"is no generator of a distill run ({path}: no {_METADATA} in it)"
        raise StageError(place, wrong, "name a generator.safetensors of a run")
    generator = build_generator(**arguments)
    generator.load_state_dict(weights.read(path, place))
    return generator.requires_grad_(requires_grad=False)


def noise(generator: Generator, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Return noise of shape BZ for `count` images, and labels of shape B where it takes some."""
    z_BZ = torch.randn((count, generator.noise_dim), generator=rng, device=rng.device)
    if not generator.num_classes:
        return z_BZ, None
    y_B = torch.randint(generator.num_classes, (count,), generator=rng, device=rng.device)
    return z_BZ, y_B
