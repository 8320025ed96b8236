"""Identifying the architecture of a weights file, by its card or by names and shapes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from models import registry
from models.key_names import match_key_names
from pipeline.errors import UsageError
from pipeline.stage import StageError
from stages.data.specs import matching_spec
from stages.networks import card as cards
from stages.networks.card import Card

Shape = tuple[int, ...]

_CANDIDATES = 3
_NAMES = 2

_MATRIX_DIMENSIONS = 2
_KERNEL_DIMENSIONS = 4
_RGB = 3
_TORCHVISION = (
    "torchvision:resnet18",
    "torchvision:resnet34",
    "torchvision:resnet50",
    "torchvision:mobilenet_v2",
    "torchvision:vgg11_bn",
)
"""The networks of torchvision that are tried when none of ours fits; slow to import."""


class Difference(NamedTuple):
    """How a file differs from a network."""

    names: list[str]
    """Of tensors that only one has, or in another shape."""
    total: int
    """Names that either has."""

    def summary(self) -> str:
        """Return how many tensors differ, with the first names."""
        more = ", ..." if len(self.names) > _NAMES else ""
        first = ", ".join(self.names[:_NAMES])
        return f"{len(self.names)} of {self.total} tensors differ, {first}{more}"


def card_for(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    arch: str | None,
    num_classes: int | None,
    image_size_px: int | None,
) -> Card:
    """Return the card of a weights file, its own or one from options and shapes.

    Raises:
        StageError: The architecture cannot be identified.
        UsageError: The image size is missing, or an option contradicts the file's own card.
    """
    card = cards.read(path)
    if card is not None:
        for option, value, own_value in (
            ("--arch", arch, card.arch),
            ("--num-classes", num_classes, card.num_classes),
            ("--image-size", image_size_px, card.image_size_px),
        ):
            if value not in (None, own_value):
                raise UsageError(
                    option,
                    f"contradicts the card in the file ({value}, not {own_value})",
                    "leave it out",
                )
        return card
    num_classes = num_classes or _output_count(tensors, path)
    channels = _image_channels(tensors)
    arch = arch or identify(tensors, channels=channels, num_classes=num_classes, path=path)
    if image_size_px is None:
        raise UsageError(
            "--image-size", f"is needed, since the file lacks it ({path})", "give it in pixels"
        )
    spec = matching_spec(channels=channels, num_classes=num_classes)
    is_known = spec.num_classes is not None
    return Card(
        arch=arch,
        channels=channels,
        image_size_px=image_size_px,
        mean=spec.mean if is_known else (0.5,) * channels,
        std=spec.std if is_known else (0.5,) * channels,
        classes=tuple(str(number) for number in range(num_classes)),
    )


def identify(tensors: Mapping[str, Tensor], *, channels: int, num_classes: int, path: Path) -> str:
    """Return the registry's name of the network whose tensors have these names and shapes.

    Raises:
        StageError: None has, or several.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    differences = _differences(registry.ARCHITECTURES, shapes, channels, num_classes)
    if channels == _RGB and all(difference.names for difference in differences.values()):
        differences |= _differences(_TORCHVISION, shapes, channels, num_classes)
    matches = [arch for arch, difference in differences.items() if not difference.names]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise StageError(
            str(path),
            f"fits several architectures that differ in more than their weights "
            f"({', '.join(matches)})",
            "name the one it was trained as with --arch",
        )
    nearest = sorted(differences.items(), key=lambda item: len(item[1].names) / item[1].total)
    candidates = "; ".join(
        f"{arch}: {difference.summary()}" for arch, difference in nearest[:_CANDIDATES]
    )
    raise StageError(
        str(path),
        f"is of no known architecture (nearest {candidates})",
        "name it with --arch: torchvision:NAME, timm:NAME or FILE.py:FUNCTION",
    )


def _differences(
    archs: Iterable[str], shapes: Mapping[str, Shape], channels: int, num_classes: int
) -> dict[str, Difference]:
    """Return for each network the names and shapes of tensors that it does not share."""
    differences = {}
    for arch in archs:
        with torch.device("meta"):
            network = registry.create(
                arch, in_channels=channels, num_classes=num_classes, code=None
            )
        own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        matched = match_key_names(shapes, own.keys())
        # Old files have no count of batches.
        differing = sorted(
            name
            for name in {name for name, _ in own.items() ^ matched.items()}
            if name in matched or not name.endswith("num_batches_tracked")
        )
        differences[arch] = Difference(differing, len(own.keys() | matched.keys()))
    return differences


def _output_count(tensors: Mapping[str, Tensor], path: Path) -> int:
    """Return the rows of the last matrix."""
    rows = [tensor.shape[0] for tensor in tensors.values() if tensor.ndim == _MATRIX_DIMENSIONS]
    if not rows:
        raise StageError(
            str(path),
            f"has no linear layer at its end ({len(tensors)} tensors, none a matrix)",
            "give --num-classes",
        )
    return rows[-1]


def _image_channels(tensors: Mapping[str, Tensor]) -> int:
    """Return the channels of the input: 3 or 1 where a convolution takes as many, else the least.

    The order of the tensors says nothing: safetensors files are sorted by name.
    """
    kernels = [tensor for tensor in tensors.values() if tensor.ndim == _KERNEL_DIMENSIONS]
    counts = {kernel.shape[1] for kernel in kernels}
    return next((count for count in (_RGB, 1) if count in counts), min(counts, default=_RGB))
