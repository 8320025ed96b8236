"""Options that say how images become the input of a network, for the commands on files."""

import math
import re
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from pipeline.errors import UsageError
from pipeline.image_size import LARGEST_PX, SMALLEST_PX, ImageSize, compact, sides_px, size_text
from pipeline.preprocessing import LARGEST_MEAN, LARGEST_STD, Interpolation
from stages import class_lists
from stages.data.classes import canonical
from stages.data.datasets import STATISTICS

_NAMED = dict(STATISTICS) | {"none": ((0.0,), (1.0,)), "bytes": ((0.0,), (1 / 255,))}
"""Name -> mean and std of images in [0, 1]; bytes: of networks that take 0 to 255."""
_NAMES = f"{', '.join(STATISTICS)}, none ([0, 1]) or bytes (0 to 255)"
_VALUES = f"V is numbers with commas, or {_NAMES}"

_SIZE = re.compile(r"(\d{1,9})(?:[xX](\d{1,9}))?")

SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW",
        help=f"Pixels of both sides, or of height and width ({SMALLEST_PX} to {LARGEST_PX} each); "
        "absent: of the file, or the usual.",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="V", help=f"What images in [0, 1] are normalised by for the network. {_VALUES}."
    ),
]
Std = Annotated[str | None, typer.Option(metavar="V", help="As --mean; a name says both.")]
Labels = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Class names: one a line, or JSON."),
]
Resize = Annotated[
    int | None,
    typer.Option(min=8, help="Pixels of the shorter side before the middle is cut out."),
]
Interpolate = Annotated[Interpolation | None, typer.Option(help="How images are scaled.")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse to assume size, mean and std, which go into the graph."),
]


class Values(NamedTuple):
    """What the options say, by the names of the fields of `Preprocessing`; None: nothing."""

    image_size_px: ImageSize | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    classes: tuple[str, ...] | None
    resize_px: int | None
    interpolation: Interpolation | None


def read(
    *,
    image_size: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    labels: Path | None = None,
    resize: int | None = None,
    interpolation: Interpolation | None = None,
) -> Values:
    """Return what the options say.

    Raises:
        UsageError: One is wrong by itself, or only one of --mean and --std has numbers.
    """
    # The name of a set says both.
    mean = std if mean is None and std in _NAMED else mean
    std = mean if std is None and mean in _NAMED else std
    for option, text, other, other_text in (
        ("--mean", mean, "--std", std),
        ("--std", std, "--mean", mean),
    ):
        _numbers(other, other_text, 0)  # a name that is unknown is the first thing to say
        if text is None and other_text is not None:
            raise UsageError(option, f"is needed with {other} ({other_text})", "give both")
    stds = _numbers("--std", std, 1)
    if stds is not None and min(stds) <= 0:
        raise UsageError("--std", f"is not above 0 ({std})", "give what pixels are divided by")
    means = _numbers("--mean", mean, 0)
    for option, text, numbers, most in (
        ("--mean", mean, means, LARGEST_MEAN),
        ("--std", std, stds, LARGEST_STD),
    ):
        if numbers is not None and max(numbers) > most:
            wrong = f"is of no images in [0, 1] ({text})"
            raise UsageError(option, wrong, "divide it by 255 where it is of bytes")
    size = None if image_size is None else size_of(image_size)
    if size and resize and resize < min(sides_px(size)):
        wrong = f"is less than is cut out ({resize}; --image-size {size_text(size)})"
        raise UsageError("--resize", wrong, "exchange them, or drop it")
    return Values(
        size,
        means,
        stds,
        None if labels is None else _labels(labels),
        resize,
        interpolation,
    )


def size_of(text: str) -> ImageSize:
    """Return what --image-size says.

    Raises:
        UsageError: It is neither a number nor two with an x, or a side is outside the bounds.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        remedy = "give pixels: 96, or 96x128 of height and width"
        raise UsageError("--image-size", f"is no size ({text})", remedy)
    sides = tuple(int(side) for side in match.groups() if side is not None)
    if any(not SMALLEST_PX <= side <= LARGEST_PX for side in sides):
        wrong = f"is outside {SMALLEST_PX} to {LARGEST_PX} pixels ({text})"
        raise UsageError("--image-size", wrong, "scale the images")
    return compact(sides if len(sides) > 1 else sides[0])


def _numbers(option: str, text: str | None, part: int) -> tuple[float, ...] | None:
    """Return the numbers of an option; one number stands for all channels."""
    if text is None:
        return None
    if text in _NAMED:
        return _NAMED[text][part]
    try:
        numbers = tuple(float(number) for number in text.strip("[]() ").split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        remedy = f"give a number for each channel, as 0.5,0.5,0.5, or {_NAMES}"
        raise UsageError(option, f"is neither numbers nor a name ({text})", remedy)
    return numbers


def _labels(path: Path) -> tuple[str, ...]:
    """Return the class names of a file; of several names of a class the last, which reads best."""
    entries = class_lists.read(path, lambda wrong: UsageError("--labels", wrong, class_lists.FORMS))
    return tuple(canonical(names[-1]) for names in entries)
