"""How the images of a bank are drawn from the generators of a run, so that none need be kept.

A recipe is a small JSON file beside the generators. With `bank.keep = false` it is all that a run
leaves of its bank. Light.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pipeline import stored_files
from pipeline.atomic import write_bytes
from pipeline.stage import StageError

FILE = "bank.json"
_FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+\.safetensors$")]
"""Of a file beside the recipe, and nowhere else."""
_MOST_IMAGES = 2**20


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images of one generator."""

    file: _FileName
    """Its weights, beside the recipe."""
    sha256: str
    """Of that file."""
    count: Annotated[int, Meta(ge=0, le=_MOST_IMAGES)]
    """Images to draw from it."""
    by_batch: bool = True
    """Whether it normalises by its batch, as in training; else by its moving averages."""


class BankRecipe(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="schema",
    tag="madpipe.bank/1",
):
    """All that decides the images of a bank."""

    seed: Annotated[int, Meta(ge=0, lt=2**32)]
    """Of the noise."""
    batch_size: Annotated[int, Meta(ge=2, le=_MOST_IMAGES)]
    """Images that are made, and so normalised, at once."""
    sources: tuple[Source, ...]
    """The generators, in the order of their images."""
    sha256: str | None = None
    """Of the images, uint8 of shape NHWC, as they were drawn first."""


def write(path: Path, recipe: BankRecipe) -> None:
    """Write a recipe as JSON."""
    write_bytes(path, msgspec.json.encode(recipe))


def read(path: Path, place: str) -> BankRecipe:
    """Return the recipe in a file.

    Raises:
        StageError: It is not there, or holds none; `place` is what named it.
    """
    try:
        return stored_files.decode(stored_files.read_bytes(path), BankRecipe)
    except (OSError, msgspec.DecodeError) as error:
        wrong = f"does not say how to draw images ({path}: {error})"
        raise StageError(place, wrong, f"name the {FILE} of a distill run") from error


def standing_for(path: Path) -> Path | None:
    """Return the recipe beside a bank that is not there, where its run keeps no images."""
    recipe = path.with_name(FILE)
    is_missed = path.suffix == ".npz" and not path.exists()
    return recipe if is_missed and recipe.is_file() else None


def absent(path: Path, recipe: Path) -> tuple[str, str]:
    """Return what is wrong with naming a bank that is not kept, and what to do."""
    return (
        f"is not there, since its run keeps no images (bank.keep = false; {path})",
        f"name {recipe}, by which they are drawn again",
    )
