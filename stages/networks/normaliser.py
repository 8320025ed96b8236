"""Mean and std of images as networks that normalise them by themselves hold them.

Wrappers of networks, such as those of robustness benchmarks and of OpenMMLab, keep them as
tensors beside the weights; a network of the user's may have them as buffers or plain attributes.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_MEAN = re.compile(r"(?:^|(?<=[._]))(?:means?|mu|m)$")
_STDS = ("std", "stds", "sigma", "s", "sd", "stdev")
_BYTES = 255.0
_LARGEST_OF_UNIT = 1.5
"""A mean above this is of bytes."""


class Statistics(NamedTuple):
    """Mean and std of images in [0, 1], a number for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: str
    """What they are called where they are, for messages."""
    is_inside: bool = False
    """Whether the network itself normalises by them, so that it takes images as they are."""
    white: float = 1.0
    """What white is in the images that they are of: 1, or 255 for bytes."""


def in_file(tensors: Mapping[str, Tensor], channels: int) -> Statistics | None:
    """Return the statistics among a file's tensors, None where there are none or several."""
    return _only(_pairs(tensors, channels))


def in_network(network: nn.Module, channels: int) -> Statistics | None:
    """Return the statistics that a network has to normalise its images by, None without."""
    entries: list[Statistics] = []
    for path, module in network.named_modules():
        named = dict(vars(module)) | dict(module.named_buffers(recurse=False))
        named |= {n: p for n, p in module.named_parameters(recurse=False) if not p.requires_grad}
        prefix = f"{path}." if path else ""
        entries.extend(_pairs({prefix + name: value for name, value in named.items()}, channels))
    only = _only(entries)
    return only._replace(is_inside=True) if only else None


def _pairs(named: Mapping[str, Any], channels: int) -> Iterable[Statistics]:
    for name, value in named.items():
        match = _MEAN.search(name)
        if match and channels == 1 and match[0] == "m":
            continue  # of one number it says too little
        mean = _numbers(value, channels) if match else ()
        stds = (name[: match.start()] + std for std in _STDS) if match else ()
        other = next((n for n in stds if _numbers(named.get(n), channels)), None)
        std = _numbers(named.get(other), channels) if other else ()
        if not mean or min(std, default=0.0) <= 0:
            continue
        unit = _BYTES if max(*mean, *std) > _LARGEST_OF_UNIT else 1.0
        yield Statistics(
            tuple(v / unit for v in mean),
            tuple(v / unit for v in std),
            f"{name} and {other}",
            white=unit,
        )


def _numbers(value: object, channels: int) -> tuple[float, ...]:
    """Return the numbers of a tensor, list or tuple that has one for each channel, else none."""
    if isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value):
        value = torch.tensor(value)
    if not isinstance(value, Tensor) or value.numel() != channels or value.is_complex():
        return ()
    if value.is_meta or not value.isfinite().all():
        return ()
    # As written: 0.485, and not what fp32 makes of it.
    return tuple(float(f"{number:.7g}") for number in value.flatten().tolist())


def _only(entries: Iterable[Statistics]) -> Statistics | None:
    by_values = {(entry.mean, entry.std): entry for entry in entries}
    return next(iter(by_values.values())) if len(by_values) == 1 else None
