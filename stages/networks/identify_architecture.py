"""Identifying the architecture of a weights file by the names and shapes of its tensors."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from models import registry
from models.key_names import fit_names
from pipeline.image_size import ImageSize, sides_px
from pipeline.stage import StageError
from stages.networks import class_count
from stages.networks.state_dict import effective

_CANDIDATES = 3
_NAMES = 2
_KERNEL_DIMENSIONS = 4
_RGB = 3
_TORCHVISION = tuple(
    f"torchvision:{name}"
    for name in (
        "resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2", "mobilenet_v2",
        "mobilenet_v3_small", "mobilenet_v3_large", "vgg11_bn", "vgg16", "vgg16_bn", "densenet121",
        "efficientnet_b0", "squeezenet1_1", "shufflenet_v2_x1_0", "convnext_tiny", "googlenet",
        "alexnet",
    )
)  # fmt: skip
"""The networks of torchvision that are tried when none of ours fits; slow to import."""
_RARER = tuple(
    f"torchvision:{name}"
    for name in (
        "resnet152", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet101_2", "vgg11", "vgg13",
        "vgg13_bn", "vgg19", "vgg19_bn", "densenet161", "densenet169", "densenet201",
        "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
        "efficientnet_v2_s", "efficientnet_v2_m", "regnet_y_400mf", "regnet_y_800mf",
        "regnet_y_1_6gf", "regnet_y_3_2gf", "regnet_x_400mf", "regnet_x_800mf", "mnasnet0_5",
        "mnasnet1_0", "convnext_small", "convnext_base", "shufflenet_v2_x0_5",
        "shufflenet_v2_x1_5", "squeezenet1_0", "inception_v3", "swin_t", "swin_s", "vit_b_16",
        "vit_b_32",
    )
)  # fmt: skip
"""Those that are tried when none of these fits either."""


def flat_channels(
    tensors: Mapping[str, Tensor], channels: int, image_size_px: ImageSize
) -> int | None:
    """Return `channels` where a network without convolutions takes flat images with so many."""
    values = channels * math.prod(sides_px(image_size_px))
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    if any(len(shape) == _KERNEL_DIMENSIONS for shape in shapes):
        return None
    return channels if any(shape[1:] == (values,) for shape in shapes) else None


def channels_of(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of channels that the first convolution takes."""
    # Their order shows no first: the tensors of safetensors files are sorted by name.
    inputs = {kernel.shape[1] for kernel in tensors.values() if kernel.ndim == _KERNEL_DIMENSIONS}
    return next((count for count in (_RGB, 1) if count in inputs), min(inputs, default=_RGB))


def identify(
    tensors: Mapping[str, Tensor], *, channels: int, num_classes: int | None, path: Path
) -> str:
    """Return the registry's name of the network whose tensors have these names and shapes.

    `num_classes` is the size of its head; None: what the file has.

    Raises:
        StageError: None has, or several.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in effective(tensors).items()}
    differences = _differences(registry.ARCHITECTURES, shapes, channels, num_classes)
    for arch in (*_TORCHVISION, *_RARER):  # no two of these have the same tensors
        if not all(names for names, _ in differences.values()):
            break
        differences |= _differences((arch,), shapes, channels, num_classes)
    matches = [arch for arch, (names, _) in differences.items() if not names]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise StageError(
            str(path),
            f"fits several architectures that differ in more than their weights "
            f"({', '.join(matches)})",
            "name the one it was trained as with --arch",
        )
    nearest = sorted(differences, key=lambda arch: len(differences[arch][0]) / differences[arch][1])
    candidates = []
    for arch in nearest[:_CANDIDATES]:
        names, total = differences[arch]
        first = ", ".join(names[:_NAMES]) + (", ..." if len(names) > _NAMES else "")
        candidates.append(f"{arch}: {len(names)} of {total} tensors differ, {first}")
    raise StageError(
        str(path),
        f"is of no known architecture (nearest {'; '.join(candidates)})",
        "name it with --arch: torchvision:NAME, timm:NAME or FILE.py:FUNCTION",
    )


def _differences(
    archs: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]],
    channels: int,
    num_classes: int | None,
) -> dict[str, tuple[list[str], int]]:
    """Return for each network which tensors only one has or in another shape, of how many names."""
    differences = {}
    for arch in archs:
        marked = class_count.marked_shapes(arch, channels=channels)
        counts = [num_classes] if num_classes else class_count.counts(shapes, marked)[:1]
        own = class_count.with_classes(marked, counts[0]) if counts else marked
        fit = fit_names(shapes, own)
        matched = {own_name: shapes[name] for name, own_name in fit.own_names.items()}
        # Old files have no count of batches.
        differing = {
            name
            for name, _ in own.items() ^ matched.items()
            if name in matched or not name.endswith("num_batches_tracked")
        }
        differences[arch] = sorted(differing), len(own.keys() | matched.keys())
    return differences
