"""ONNX operators on shapes in torch, and what all operators share.

Each is called with the values of a node's inputs, None where one is left out, and its attributes.
Sizes, axes and shapes are integers on the CPU.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Tensor | tuple[Tensor, ...]]


class UnsupportedNode(Exception):
    """A node that cannot be run in torch; says why."""


def numbers(values: Any) -> list[Any]:
    """Return the numbers of a tensor, or of what was read from one."""
    if isinstance(values, Tensor):
        values = values.flatten().tolist()
    return list(values) if isinstance(values, list | tuple) else [values]


def number(value: Any) -> Any:
    """Return the number of a tensor of one, or what was read from one."""
    (single,) = numbers(value)
    return single


def ints(values: Any) -> list[int]:
    """Return the integers of a tensor, or what was read from one."""
    return numbers(values)


def optional(inputs: Sequence[Any], index: int) -> Any:
    """Return an input that may be left out, None where it is."""
    return inputs[index] if index < len(inputs) else None


def flatten(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return a matrix, as Flatten does."""
    x: Tensor = inputs[0]
    axis = a.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def reshape(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return other sizes, as Reshape does: 0 keeps one, -1 takes what is left."""
    x: Tensor = inputs[0]
    sizes = ints(inputs[1])
    if not a.get("allowzero"):
        sizes = [size or x.shape[place] for place, size in enumerate(sizes)]
    return x.reshape(sizes)


def expand(inputs: Sequence[Any], _a: Attributes) -> Tensor:
    """Repeat along axes of size 1, as Expand does: a size of 1 keeps an axis."""
    x: Tensor = inputs[0]
    sizes = ints(inputs[1])
    before = [1] * (len(sizes) - x.dim()) + list(x.shape)
    after = [1] * (x.dim() - len(sizes)) + sizes
    return x.expand([kept if size == 1 else size for kept, size in zip(before, after, strict=True)])


def _axes(inputs: Sequence[Any], a: Attributes) -> list[int] | None:
    """Return the axes of a node, which newer opsets have in an input; None where none are named."""
    axes = optional(inputs, 1)
    named: list[int] | None = a.get("axes") if axes is None else ints(axes)
    return named


def squeeze(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Leave axes of size 1 out, as Squeeze does."""
    x: Tensor = inputs[0]
    axes = _axes(inputs, a)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def unsqueeze(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Add axes of size 1, as Unsqueeze does."""
    x: Tensor = inputs[0]
    axes = _axes(inputs, a) or []
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def reduce(function: Callable[..., Tensor]) -> Operator:
    """Return the operator that reduces over axes by `function`."""

    def run(inputs: Sequence[Any], a: Attributes) -> Tensor:
        x: Tensor = inputs[0]
        axes = _axes(inputs, a)
        if not axes and a.get("noop_with_empty_axes"):
            return x
        return function(x, axes or list(range(x.dim())), bool(a.get("keepdims", 1)))

    return run


def pad(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Pad as Pad does, but for the mode wrap."""
    x: Tensor = inputs[0]
    pads = a["pads"] if "pads" in a else ints(inputs[1])
    fill = optional(inputs, 2)
    axes = optional(inputs, 3)
    places = list(range(x.dim())) if axes is None else [n % x.dim() for n in ints(axes)]
    around = {place: (pads[n], pads[n + len(places)]) for n, place in enumerate(places)}
    flat = [pad for place in reversed(range(x.dim())) for pad in around.get(place, (0, 0))]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return functional.pad(x, flat, value=0.0 if fill is None else float(number(fill)))
    modes = {"reflect": "reflect", "edge": "replicate"}
    if mode not in modes:
        raise UnsupportedNode(f"its mode ({mode})")
    return functional.pad(x, flat[: 2 * (x.dim() - 2)], mode=modes[mode])


def cut(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return a part, as Slice does."""
    x: Tensor = inputs[0]
    starts = a["starts"] if "starts" in a else ints(inputs[1])
    ends = a["ends"] if "ends" in a else ints(inputs[2])
    axes = optional(inputs, 3)
    places = a.get("axes", list(range(len(starts)))) if axes is None else ints(axes)
    steps = optional(inputs, 4)
    strides = [1] * len(starts) if steps is None else ints(steps)
    for start, end, place, stride in zip(starts, ends, places, strides, strict=True):
        indices = range(x.shape[place])[start:end:stride]
        if stride > 0:
            # Files have ends far behind the last place, which torch warns of.
            bounds = slice(indices.start, indices.stop, indices.step)
            part = [slice(None)] * (place % x.dim()) + [bounds]
            x = x[tuple(part)]
        else:
            x = x.index_select(place, torch.tensor(list(indices), device=x.device))
    return x


def split(inputs: Sequence[Any], a: Attributes) -> tuple[Tensor, ...]:
    """Return parts, as Split does."""
    x: Tensor = inputs[0]
    axis = a.get("axis", 0)
    sizes = optional(inputs, 1)
    if sizes is not None or "split" in a:
        return torch.split(x, a["split"] if sizes is None else ints(sizes), dim=axis)
    return torch.split(x, math.ceil(x.shape[axis] / a["outputs"]), dim=axis)


def shape(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return the sizes, as Shape does."""
    sizes = list(inputs[0].shape)
    return torch.tensor(sizes[a.get("start", 0) : a.get("end", len(sizes))], dtype=torch.int64)


def constant_of_shape(inputs: Sequence[Any], a: Attributes) -> Tensor:
    """Return one value in all places, as ConstantOfShape does."""
    return torch.full(ints(inputs[0]), a.get("value", 0.0), dtype=a.get("dtype", torch.float32))
