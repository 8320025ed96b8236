"""Drawing the images of a bank from the generators of a run: the same ones each time.

Noise and images are made on the CPU in fp32, whatever the generators were trained on, since random
numbers of a GPU are others. Imported by name, and only where no bank is kept: it needs torch.

Shape legend: N images, C channel, H W space.
"""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.generator import Generator
from pipeline.cache.keys import file_sha256
from pipeline.stage import OnNote, StageError, no_note
from stages import bank_recipe, generators, image_bank
from stages.bank_recipe import BankRecipe


def recipe_of(
    files: dict[Path, int], *, seed: int, batch_size: int, averaged: frozenset[Path] = frozenset()
) -> BankRecipe:
    """Return the recipe of so many images of each generator's file, all of them in one folder.

    `averaged` are those that normalise by their moving averages.
    """
    sources = tuple(
        bank_recipe.Source(
            file=path.name, sha256=file_sha256(path), count=count, by_batch=path not in averaged
        )
        for path, count in files.items()
    )
    return BankRecipe(seed=seed, batch_size=batch_size, sources=sources)


def draw(recipe: BankRecipe, folder: Path, place: str) -> list[Tensor]:
    """Return images in [0, 1], of shape NCHW, of each source, whose files lie in `folder`.

    The first images of a source are the same, however many are drawn of it.

    Raises:
        StageError: A generator is not there, damaged, or another one.
    """
    parts = []
    for number, source in enumerate(recipe.sources):
        path = folder / source.file
        if not path.is_file() or file_sha256(path) != source.sha256:
            wrong = f"is to be drawn from a generator that is not beside it, or is another ({path})"
            remedy = "keep both in one folder, or distil again: madpipe run distill --force distill"
            raise StageError(place, wrong, remedy)
        generator = generators.load(path, place).train(source.by_batch)
        rng = torch.Generator().manual_seed(_mixed(recipe.seed, number))
        parts.append(_images(generator, source.count, recipe.batch_size, rng))
    return parts


def completed(recipe: BankRecipe, parts: list[Tensor]) -> BankRecipe:
    """Return the recipe with the number and the digest of images that were drawn by it."""
    sources = tuple(
        msgspec.structs.replace(source, count=len(x_NCHW))
        for source, x_NCHW in zip(recipe.sources, parts, strict=True)
    )
    digest = _sha256(image_bank.as_bytes(torch.cat(parts)))
    return msgspec.structs.replace(recipe, sources=sources, sha256=digest)


def draw_again(path: Path, place: str, on_note: OnNote = no_note) -> NDArray[np.uint8]:
    """Return the images that a recipe's file describes, of shape NHWC.

    `on_note` is told where they are not those that were drawn first, as another processor or
    release of torch may round differently.

    Raises:
        StageError: It is no recipe, or a generator is not beside it.
    """
    recipe = bank_recipe.read(path, place)
    x_NHWC = image_bank.as_bytes(torch.cat(draw(recipe, path.parent, place)))
    if recipe.sha256 not in (None, _sha256(x_NHWC)):
        on_note(
            f"{place}: the images that were drawn again are not bit for bit those of distill, since"
            " another processor or release of torch rounds differently"
        )
    return x_NHWC


def _mixed(seed: int, number: int) -> int:
    """Return a seed that no other part of a run has: int8 training must not see these images."""
    digest = hashlib.sha256(f"bank {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7])


def _sha256(x_NHWC: NDArray[np.uint8]) -> str:
    return hashlib.sha256(x_NHWC.tobytes()).hexdigest()


@torch.no_grad()
def _images(generator: Generator, count: int, batch_size: int, rng: torch.Generator) -> Tensor:
    """Return images as the student saw them: normalised by a batch of the size it saw."""
    batches = [torch.empty(0, generator.channels, *generator.size_px)]
    for first in range(0, count, batch_size):
        x_BCHW = generator(*generators.noise(generator, batch_size, rng))
        batches.append(x_BCHW[: count - first])
    return torch.cat(batches)
