"""ONNX's Resize and Upsample in torch: each row and column of the result from its source.

Shape legend: S places of the result along one side.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.programs.onnx_shape_operators import (
    Attributes,
    UnsupportedNode,
    ints,
    numbers,
    optional,
)

_COORDINATES_OPSET = 11
"""From here on a node says how places of the result lie in the source."""
_UNSUPPORTED = ("antialias", "exclude_outside")
_IMAGE_DIMS = 4

_ROUNDING: Mapping[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda at_S: torch.ceil(at_S - 0.5),
    "round_prefer_ceil": lambda at_S: torch.floor(at_S + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def resize(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return a tensor of other height and width, as Resize and Upsample do.

    Raises:
        UnsupportedNode: It smooths, cuts out a region, or scales another dimension.
    """
    x: Tensor = inputs[0]
    is_old = a["opset"] < _COORDINATES_OPSET
    scales = optional(inputs, 1 if is_old else 2)
    sizes = None if is_old else optional(inputs, 3)
    for name in _UNSUPPORTED:
        if a.get(name):
            raise UnsupportedNode(f"its {name}")
    if (
        x.dim() != _IMAGE_DIMS
        or a.get("axes")
        or a.get("keep_aspect_ratio_policy", "stretch") != ("stretch")
    ):
        raise UnsupportedNode("its axes")
    if sizes is not None and (size := ints(sizes)):
        factors = [after / before for after, before in zip(size, x.shape, strict=True)]
    else:
        factors = a["scales"] if scales is None else numbers(scales)
        size = [math.floor(edge * factor) for edge, factor in zip(x.shape, factors, strict=True)]
    if size[:2] != list(x.shape[:2]):
        raise UnsupportedNode("its scales of batch and channels")
    how = "asymmetric" if is_old else a.get("coordinate_transformation_mode", "half_pixel")
    mode = a.get("mode", "nearest")
    rounding = "floor" if is_old else a.get("nearest_mode", "round_prefer_floor")
    if mode == "cubic":
        return _cubic(x, size, how, a)
    for dim in (2, 3):
        at_S = _source(size[dim], x.shape[dim], factors[dim], how).to(x.device)
        x = _nearest(x, dim, at_S, rounding) if mode == "nearest" else _linear(x, dim, at_S)
    return x


def _source(after: int, before: int, factor: float, how: str) -> Tensor:
    """Return where places of the result lie along a side of the source, in its pixels."""
    places_S = torch.arange(after, dtype=torch.float32)
    if how == "asymmetric":
        return places_S / factor
    if how == "align_corners":
        return places_S * ((before - 1) / (after - 1) if after > 1 else 0.0)
    if how == "pytorch_half_pixel" and after == 1:
        return torch.zeros(1)
    if how in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        return (places_S + 0.5) / factor - 0.5
    raise UnsupportedNode(f"its coordinates ({how})")


def _nearest(x: Tensor, dim: int, at_S: Tensor, rounding: str) -> Tensor:
    places_S = _ROUNDING[rounding](at_S).long().clamp(0, x.shape[dim] - 1)
    return x.index_select(dim, places_S)


def _linear(x: Tensor, dim: int, at_S: Tensor) -> Tensor:
    last = x.shape[dim] - 1
    at_S = at_S.clamp(0, last)
    low_S = at_S.floor().long()
    share_S = (at_S - low_S).view([-1 if d == dim else 1 for d in range(x.dim())])
    low, high = x.index_select(dim, low_S), x.index_select(dim, (low_S + 1).clamp(max=last))
    return low + (high - low) * share_S


def _cubic(x: Tensor, size: list[int], how: str, a: Attributes) -> Tensor:
    if a.get("cubic_coeff_a", -0.75) != -0.75 or how not in ("half_pixel", "align_corners"):  # noqa: PLR2004  (torch's own)
        raise UnsupportedNode(f"its cubic mode ({how})")
    return functional.interpolate(x, size[2:], mode="bicubic", align_corners=how == "align_corners")
