"""What options say of a network, and their names; nothing here reads a file."""

from typing import NamedTuple

from pipeline.image_size import ImageSize
from pipeline.preprocessing import Interpolation, Preprocessing

OPTIONS = {
    "arch": "--arch",
    "num_classes": "--num-classes",
    "image_size_px": "--image-size",
    "mean": "--mean",
    "std": "--std",
    "classes": "--labels",
    "resize_px": "--resize",
    "interpolation": "--interpolation",
}
"""Field -> the option that says it."""
IN_THE_GRAPH = ("image_size_px", "mean", "std")
"""Fields that decide what an exported graph computes; the others describe what is around it."""


class Facts(NamedTuple):
    """What options or settings say of a network; None: nothing."""

    arch: str | None = None
    num_classes: int | None = None
    image_size_px: ImageSize | None = None
    """Height and width."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    resize_px: int | None = None
    interpolation: Interpolation | None = None


def assumed_in_graph(preprocessing: Preprocessing) -> list[str]:
    """Return the fields that decide what a graph computes and that nobody said."""
    return [name for name in preprocessing.assumed if name in IN_THE_GRAPH]
