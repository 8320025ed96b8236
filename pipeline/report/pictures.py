"""The worst images of a validation as the page has them: data that an <img> takes, and texts."""

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pipeline.gates.pictures import ActivationMap, Answer, Picture, Pictures

_PNG = b"\x89PNG"
_COLOURS = "plasma"
_LEAST_OPACITY, _MOST_OPACITY = 0.25, 0.85
_LEGEND_STOPS = 9


class MapView(NamedTuple):
    """Where one network looks in one image."""

    network: str
    answer: Answer
    source: str | None
    """Of an <img> to lay over the image; None where nothing speaks for the answer."""
    alt: str


class PictureView(NamedTuple):
    """One image, its answers, and the maps that there are of it."""

    number: int
    label: str | None
    source: str
    alt: str
    answers: Mapping[str, Answer]
    is_lost: bool
    """Whether the teacher gets it right."""
    maps: Sequence[MapView]


class PicturesView(NamedTuple):
    """The part of the page with images."""

    is_real: bool
    wrong: int
    n: int
    pictures: Sequence[PictureView]
    mapped: Sequence[PictureView]
    """Those with maps."""
    map_sizes: Mapping[str, str]
    """By network: rows and columns of its maps."""
    maps_absent: Mapping[str, str]
    legend: str
    """The colours from nothing to most, as CSS has a gradient."""


def view(pictures: Pictures) -> PicturesView:
    """Return the images as the page draws them."""
    views = [_picture(picture, pictures.kind == "held-out") for picture in pictures.pictures]
    sizes: dict[str, str] = {}
    for picture in pictures.pictures:
        for network, seen in picture.maps.items():
            sizes.setdefault(network, f"{seen.height} by {seen.width}")
    return PicturesView(
        is_real=pictures.kind == "held-out",
        wrong=pictures.wrong,
        n=pictures.n,
        pictures=views,
        mapped=[picture for picture in views if picture.maps],
        map_sizes=sizes,
        maps_absent=pictures.maps_absent,
        legend=_legend(),
    )


def _picture(picture: Picture, is_real: bool) -> PictureView:  # noqa: FBT001
    worst = picture.worst
    name = f"{'held-out' if is_real else 'synthetic'} image {worst.index}"
    label = f", labelled {worst.label}" if worst.label is not None else ""
    answers = ", ".join(f"{key} {answer.class_name}" for key, answer in worst.answers.items())
    return PictureView(
        number=worst.index,
        label=worst.label,
        source=_source(picture.image),
        alt=f"{name}{label}: {answers}",
        answers=worst.answers,
        is_lost="teacher" in worst.answers and worst.answers["teacher"].is_right,
        maps=[
            MapView(
                network,
                worst.answers[network],
                _overlay(seen) if any(seen.values) else None,
                f"where the {network} looks in image {worst.index} for its answer "
                f"{worst.answers[network].class_name}",
            )
            for network, seen in picture.maps.items()
            if network in worst.answers
        ],
    )


def _source(content: bytes) -> str:
    kind = "png" if content.startswith(_PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _overlay(seen: ActivationMap) -> str:
    """Return a map as a picture of its own size, the more opaque the more it speaks."""
    from PIL import Image  # noqa: PLC0415  (only a page needs it)

    palette = _palette()
    image = Image.frombytes("P", (seen.width, seen.height), seen.values)
    image.putpalette([part for colour in palette for part in colour[:3]])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=bytes(colour[3] for colour in palette))
    return _source(buffer.getvalue())


@cache
def _palette() -> Sequence[tuple[int, int, int, int]]:
    """Return red, green, blue and opacity of each of the values, 0 to 255."""
    from matplotlib import colormaps  # noqa: PLC0415

    opacities = _MOST_OPACITY - _LEAST_OPACITY
    palette = []
    for value in range(256):
        red, green, blue, _ = map(int, colormaps[_COLOURS](value, bytes=True))
        opacity = _LEAST_OPACITY + opacities * value / 255
        palette.append((red, green, blue, round(255 * opacity)))
    return palette


def _legend() -> str:
    stops = [_palette()[round(255 * stop / (_LEGEND_STOPS - 1))] for stop in range(_LEGEND_STOPS)]
    return f"linear-gradient(to right, {', '.join(f'rgb{colour[:3]}' for colour in stops)})"
