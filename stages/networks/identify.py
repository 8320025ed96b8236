"""Telling which network a weights file belongs to, by its card or by names and shapes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from models import registry
from models.key_names import match_key_names
from pipeline.errors import UsageError
from pipeline.stage import StageError
from stages.data.specs import SPECS
from stages.networks import card as cards
from stages.networks.card import Card

Shape = tuple[int, ...]


class Difference(NamedTuple):
    """How a file differs from a network."""

    names: list[str]
    """Of tensors that only one has, or in another shape."""
    total: int
    """Names that either has."""

    def told(self) -> str:
        """Return it in words, with the first names."""
        more = ", ..." if len(self.names) > _NAMES else ""
        first = ", ".join(self.names[:_NAMES])
        return f"{len(self.names)} of {self.total} tensors differ, {first}{more}"


_CANDIDATES = 3
_NAMES = 2

_MATRIX = 2
_IMAGE_WEIGHT = 4
_RGB = 3
_TORCHVISION = (
    "torchvision:resnet18",
    "torchvision:resnet34",
    "torchvision:resnet50",
    "torchvision:mobilenet_v2",
    "torchvision:vgg11_bn",
)
"""The networks of torchvision that are tried when none of ours fits; slow to import."""


def card_for(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    arch: str | None,
    num_classes: int | None,
    image_size_px: int | None,
) -> Card:
    """Return the card of a weights file, its own or one made from options and shapes.

    Raises:
        StageError: The architecture is not to be told, or the image size is unknown.
    """
    own = cards.read(path) if has_card(path) else None
    if own is not None:
        _check_against(own, arch=arch, num_classes=num_classes, image_size_px=image_size_px)
        return own
    classes = num_classes or _last_rows(tensors, path)
    channels = _image_channels(tensors)
    name = arch or recognise(tensors, channels=channels, num_classes=classes, path=path)
    if image_size_px is None:
        raise UsageError(
            "--image-size",
            f"is needed, since the file does not say it ({path})",
            "give it in pixels",
        )
    known = next(
        (s for s in SPECS.values() if s.num_classes == classes and s.channels == channels), None
    )
    mean = known.mean if known else (0.5,) * channels
    std = known.std if known else (0.5,) * channels
    return Card(
        arch=name,
        channels=channels,
        image_size_px=image_size_px,
        mean=mean,
        std=std,
        classes=tuple(str(number) for number in range(classes)),
    )


def _check_against(
    own: Card, *, arch: str | None, num_classes: int | None, image_size_px: int | None
) -> None:
    """Refuse options that contradict the card that a file carries."""
    for option, asked, known in (
        ("--arch", arch, own.arch),
        ("--num-classes", num_classes, own.num_classes),
        ("--image-size", image_size_px, own.image_size_px),
    ):
        if asked not in (None, known):
            raise UsageError(
                option, f"contradicts the card in the file ({asked}, not {known})", "leave it out"
            )


def has_card(path: Path) -> bool:
    """Tell whether a weights file carries a card."""
    return path.suffix == ".safetensors" and cards.read(path) is not None


def recognise(tensors: Mapping[str, Tensor], *, channels: int, num_classes: int, path: Path) -> str:
    """Return the registry's name of the network whose tensors have these names and shapes.

    Raises:
        StageError: None has, or several.
    """
    wanted = {name: tuple(each.shape) for name, each in tensors.items()}
    found = _differing(registry.ARCHITECTURES, wanted, channels, num_classes)
    if channels == _RGB and all(each.names for each in found.values()):
        found |= _differing(_TORCHVISION, wanted, channels, num_classes)
    matches = [arch for arch, differing in found.items() if not differing.names]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise StageError(
            str(path),
            f"fits several architectures that differ in more than their weights "
            f"({', '.join(matches)})",
            "name the one it was trained as with --arch",
        )
    nearest = sorted(found, key=lambda arch: len(found[arch].names) / found[arch].total)
    told = "; ".join(f"{arch}: {found[arch].told()}" for arch in nearest[:_CANDIDATES])
    raise StageError(
        str(path),
        f"is of no known architecture (nearest {told})",
        "name it with --arch: torchvision:NAME, timm:NAME or FILE.py:FUNCTION",
    )


def _differing(
    archs: Iterable[str], wanted: Mapping[str, Shape], channels: int, num_classes: int
) -> dict[str, Difference]:
    """Return for each network the names and shapes of tensors that it does not share."""
    found = {}
    for arch in archs:
        with torch.device("meta"):
            network = registry.create(
                arch, in_channels=channels, num_classes=num_classes, code=None
            )
        own = {name: tuple(each.shape) for name, each in network.state_dict().items()}
        given = match_key_names(wanted, own.keys())
        differing = {name for name, _ in own.items() ^ given.items()}
        names = sorted(name for name in differing if not _is_optional(name, given))
        found[arch] = Difference(names, len(own.keys() | given.keys()))
    return found


def _is_optional(name: str, given: Mapping[str, Shape]) -> bool:
    """Tell whether a file may leave a tensor out: old ones have no count of batches."""
    return name.endswith("num_batches_tracked") and name not in given


def _last_rows(tensors: Mapping[str, Tensor], path: Path) -> int:
    rows = [each.shape[0] for each in tensors.values() if each.ndim == _MATRIX]
    if not rows:
        raise StageError(
            str(path), "has no linear layer at its end (0 found)", "give --num-classes"
        )
    return rows[-1]


def _image_channels(tensors: Mapping[str, Tensor]) -> int:
    """Return the channels of the input: 3 or 1 where a convolution takes as many, else the least.

    The order of the tensors tells nothing: safetensors files are sorted by name.
    """
    taken = {each.shape[1] for each in tensors.values() if each.ndim == _IMAGE_WEIGHT}
    return next((count for count in (_RGB, 1) if count in taken), min(taken, default=_RGB))
