"""ONNX operators in torch that pick, place, repeat or order the values of a tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from models.programs.onnx_shape_operators import (
    Attributes,
    Operator,
    UnsupportedNode,
    ints,
    number,
    optional,
)


def _gather(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, indices = inputs
    axis = a.get("axis", 0) % x.dim()
    flat = indices.flatten().to(x.device) % x.shape[axis]
    y: Tensor = x.index_select(axis, flat)
    return y.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _gather_elements(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, indices = inputs
    axis = a.get("axis", 0)
    y: Tensor = x.gather(axis, indices.to(x.device) % x.shape[axis])
    return y


def _gather_nd(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("batch_dims"):
        raise UnsupportedNode("its batch dimensions")
    x, indices = inputs
    y: Tensor = x[tuple(indices.to(x.device).unbind(-1))]
    return y


def _scatter_nd(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("reduction", "none") != "none":
        raise UnsupportedNode(f"its reduction ({a['reduction']})")
    x, indices, updates = inputs
    y: Tensor = x.index_put(tuple(indices.to(x.device).unbind(-1)), updates)
    return y


def _scatter_elements(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("reduction", "none") != "none":
        raise UnsupportedNode(f"its reduction ({a['reduction']})")
    x, indices, updates = inputs
    axis = a.get("axis", 0)
    y: Tensor = x.scatter(axis, indices.to(x.device) % x.shape[axis], updates)
    return y


def _arg(function: Any) -> Operator:
    def run(inputs: Sequence[Any], a: Attributes) -> Tensor:
        if a.get("select_last_index"):
            raise UnsupportedNode("its choice of the last index")
        indices: Tensor = function(inputs[0], a.get("axis", 0), bool(a.get("keepdims", 1)))
        return indices

    return run


def _top_k(inputs: Sequence[Any], a: Attributes) -> tuple[Tensor, Tensor]:
    (count,) = ints(inputs[1])
    values, indices = torch.topk(
        inputs[0], count, a.get("axis", -1), bool(a.get("largest", 1)), bool(a.get("sorted", 1))
    )
    return values, indices


def _one_hot(inputs: Sequence[Any], a: Attributes) -> Tensor:
    indices, depth, values = inputs
    size = int(number(depth))
    hot = torch.nn.functional.one_hot(indices.long() % size, size).movedim(-1, a.get("axis", -1))
    off, on = values
    y: Tensor = hot.to(values.dtype) * (on - off) + off
    return y


def _trilu(inputs: Sequence[Any], a: Attributes) -> Tensor:
    offset = optional(inputs, 1)
    diagonal = 0 if offset is None else number(offset)
    x: Tensor = inputs[0]
    return x.triu(diagonal) if a.get("upper", 1) else x.tril(diagonal)


def _cumulative_sum(inputs: Sequence[Any], a: Attributes) -> Tensor:
    if a.get("exclusive") or a.get("reverse"):
        raise UnsupportedNode("its direction")
    y: Tensor = inputs[0].cumsum(number(inputs[1]))
    return y


def _depth_to_space(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    size = a["blocksize"]
    if a.get("mode", "DCR") == "CRD":
        return torch.nn.functional.pixel_shuffle(x, size)
    b, c, h, w = x.shape
    x = x.reshape(b, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(b, c // size**2, h * size, w * size)


def _space_to_depth(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    size = a["blocksize"]
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(b, c * size**2, h // size, w // size)


INDEXING: Mapping[str, Operator] = {
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "CumSum": _cumulative_sum,
    "DepthToSpace": _depth_to_space,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda inputs, _: inputs[0].nonzero().T,
    "OneHot": _one_hot,
    "Range": lambda inputs, _: torch.arange(*map(number, inputs)),
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "SpaceToDepth": _space_to_depth,
    "Tile": lambda inputs, _: inputs[0].repeat(ints(inputs[1])),
    "TopK": _top_k,
    "Trilu": _trilu,
}
"""By the names of the standard."""
