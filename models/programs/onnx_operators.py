"""ONNX operators in torch: those that image classifiers are made of, with gradients.

Each is called with the values of a node's inputs, None where one is left out, and its attributes.
Sizes, axes and shapes are integers on the CPU.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.programs import onnx_shape_operators as shape_operators
from models.programs.onnx_indexing import INDEXING
from models.programs.onnx_pointwise import POINTWISE
from models.programs.onnx_resize import resize
from models.programs.onnx_shape_operators import (
    Attributes,
    Operator,
    UnsupportedNode,
    optional,
)
from models.strided_pointwise import is_unsafe_channels_last

_SOFTMAX_OPSET = 13
_GROUP_NORM_OPSET = 21


def _pads(x: Tensor, sizes: Sequence[int], a: Attributes) -> list[int]:
    """Return the padding of a window of `sizes` at every side, as torch's `pad` takes it."""
    dims = len(sizes)
    mode = a.get("auto_pad", "NOTSET")
    before_after: list[tuple[int, int]] = []
    if mode in ("NOTSET", "VALID"):
        pads = a.get("pads", [0] * 2 * dims) if mode == "NOTSET" else [0] * 2 * dims
        before_after = list(zip(pads[:dims], pads[dims:], strict=True))
    else:
        strides, dilations = a.get("strides", [1] * dims), a.get("dilations", [1] * dims)
        spaces = x.shape[-dims:]
        for space, size, stride, dilation in zip(spaces, sizes, strides, dilations, strict=True):
            total = max((math.ceil(space / stride) - 1) * stride + dilation * (size - 1) + 1, space)
            small, large = (total - space) // 2, (total - space + 1) // 2
            before_after.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return [pad for pair in reversed(before_after) for pad in pair]


def _conv(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, weight = inputs[0], inputs[1]
    dims = weight.dim() - 2
    pads = _pads(x, weight.shape[2:], a)
    symmetric = list(reversed(pads[::2]))
    if pads[::2] != pads[1::2]:
        x, symmetric = functional.pad(x, pads), [0] * dims
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]
    strides, groups = a.get("strides", [1] * dims), a.get("group", 1)
    if x.device.type == "cpu" and is_unsafe_channels_last(
        weight.shape[2:], strides, in_channels=x.shape[1], groups=groups
    ):
        x = x.contiguous()
    y: Tensor = run(
        x,
        weight,
        optional(inputs, 2),
        stride=strides,
        padding=symmetric,
        dilation=a.get("dilations", [1] * dims),
        groups=groups,
    )
    return y


def _conv_transpose(inputs: Sequence[Any], a: Attributes) -> Tensor:
    dims = inputs[1].dim() - 2
    pads = a.get("pads", [0] * 2 * dims)
    if a.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in a or pads[:dims] != pads[dims:]:
        raise UnsupportedNode("its padding differs from side to side")
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
    y: Tensor = run[dims - 1](
        inputs[0],
        inputs[1],
        optional(inputs, 2),
        stride=a.get("strides", [1] * dims),
        padding=pads[:dims],
        output_padding=a.get("output_padding", [0] * dims),
        groups=a.get("group", 1),
        dilation=a.get("dilations", [1] * dims),
    )
    return y


def _gemm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    left = inputs[0].T if a.get("transA") else inputs[0]
    right = inputs[1].T if a.get("transB") else inputs[1]
    product: Tensor = a.get("alpha", 1.0) * (left @ right) if "alpha" in a else left @ right
    bias = optional(inputs, 2)
    return product if bias is None else product + a.get("beta", 1.0) * bias


def _max_pool(inputs: Sequence[Any], a: Attributes) -> Tensor:
    sizes = a["kernel_shape"]
    dims = len(sizes)
    # Padding of its own, since torch allows no more than half a window, the same on both sides.
    x = functional.pad(inputs[0], _pads(inputs[0], sizes, a), value=-math.inf)
    run = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[dims - 1]
    y: Tensor = run(
        x,
        sizes,
        stride=a.get("strides", [1] * dims),
        dilation=a.get("dilations", [1] * dims),
        ceil_mode=bool(a.get("ceil_mode")),
    )
    return y


def _average_pool(inputs: Sequence[Any], a: Attributes) -> Tensor:
    sizes = a["kernel_shape"]
    dims = len(sizes)
    pads = _pads(inputs[0], sizes, a)
    counts_padding = bool(a.get("count_include_pad"))
    if any(d != 1 for d in a.get("dilations", [1])):
        raise UnsupportedNode("its window is dilated")
    run: Any = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[dims - 1]
    options = {"stride": a.get("strides", [1] * dims), "ceil_mode": bool(a.get("ceil_mode"))}
    x = functional.pad(inputs[0], pads)
    if any(pads) and not counts_padding:
        inside = functional.pad(torch.ones_like(inputs[0][:1, :1]), pads)
        averaged: Tensor = run(x, sizes, **options) / run(inside, sizes, **options)
        return averaged
    y: Tensor = run(x, sizes, **options)
    return y


def _batch_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, weight, bias, mean, var = inputs[:5]
    return functional.batch_norm(x, mean, var, weight, bias, eps=a.get("epsilon", 1e-5))


def _layer_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x = inputs[0]
    shape = x.shape[a.get("axis", -1) :]
    weight, bias = inputs[1].expand(shape), optional(inputs, 2)
    bias = None if bias is None else bias.expand(shape)
    return functional.layer_norm(x, shape, weight, bias, a.get("epsilon", 1e-5))


def _rms_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, scale = inputs[:2]
    axes = list(range(a.get("axis", -1) % x.dim(), x.dim()))
    y: Tensor = x * torch.rsqrt(x.square().mean(axes, keepdim=True) + a.get("epsilon", 1e-5))
    return y.mul(scale)


def _group_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, weight, bias = inputs
    count = a["num_groups"]
    if a["opset"] < _GROUP_NORM_OPSET:  # a weight for each group before, for each channel since
        weight, bias = (v.repeat_interleave(x.shape[1] // count) for v in (weight, bias))
    return functional.group_norm(x, count, weight, bias, a.get("epsilon", 1e-5))


def _instance_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, weight, bias = inputs
    return functional.instance_norm(x, weight=weight, bias=bias, eps=a.get("epsilon", 1e-5))


def _local_response_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    size = a["size"]
    return functional.local_response_norm(
        x, size, a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
    )


def _lp_norm(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return functional.normalize(x, p=a.get("p", 2), dim=a.get("axis", -1))


def _places(x: Tensor) -> list[int]:
    """Return the dimensions of space."""
    return list(range(2, x.dim()))


def _softmax(function: Callable[..., Tensor]) -> Operator:
    """Return softmax; before opset 13 it flattens what follows its axis."""

    def run(inputs: Sequence[Any], a: Attributes) -> Tensor:
        x: Tensor = inputs[0]
        if a["opset"] >= _SOFTMAX_OPSET:
            return function(x, a.get("axis", -1))
        axis = a.get("axis", 1) % x.dim()
        flat = x.reshape(math.prod(x.shape[:axis]), -1)
        return function(flat, -1).reshape(x.shape)

    return run


OPERATORS: Mapping[str, Operator] = {
    **POINTWISE,
    **INDEXING,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda inputs, a: torch.cat(list(inputs), dim=a["axis"]),
    "ConstantOfShape": shape_operators.constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Expand": shape_operators.expand,
    "Einsum": lambda inputs, a: torch.einsum(a["equation"], *inputs),
    "Flatten": shape_operators.flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(_places(inputs[0]), keepdim=True),
    "GlobalMaxPool": lambda inputs, _: inputs[0].amax(_places(inputs[0]), keepdim=True),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": _lp_norm,
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "MaxPool": _max_pool,
    "Pad": shape_operators.pad,
    "RMSNormalization": _rms_norm,
    "ReduceL1": shape_operators.reduce(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": shape_operators.reduce(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceLogSumExp": shape_operators.reduce(torch.logsumexp),
    "ReduceMax": shape_operators.reduce(torch.amax),
    "ReduceMean": shape_operators.reduce(torch.mean),
    "ReduceMin": shape_operators.reduce(torch.amin),
    "ReduceSum": shape_operators.reduce(torch.sum),
    "ReduceSumSquare": shape_operators.reduce(lambda x, axes, keep: x.square().sum(axes, keep)),
    "Reshape": shape_operators.reshape,
    "Resize": resize,
    "Shape": shape_operators.shape,
    "Size": lambda inputs, _: torch.tensor(inputs[0].numel()),
    "Slice": shape_operators.cut,
    "Softmax": _softmax(torch.softmax),
    "Split": shape_operators.split,
    "Squeeze": shape_operators.squeeze,
    "Transpose": lambda inputs, a: inputs[0].permute(
        a.get("perm", list(reversed(range(inputs[0].dim()))))
    ),
    "Unsqueeze": shape_operators.unsqueeze,
    "Upsample": resize,
}
"""By the names of the standard."""
SIZE_READERS: Mapping[str, Sequence[int]] = {
    "ConstantOfShape": [0],
    "CumSum": [1],
    "Expand": [1],
    "OneHot": [1],
    "Pad": [1, 2, 3],
    "Range": [0, 1, 2],
    "Reshape": [1],
    "Resize": [2, 3],
    "Slice": [1, 2, 3, 4],
    "Split": [1],
    "Squeeze": [1],
    "Tile": [1],
    "TopK": [1],
    "Trilu": [1],
    "Unsqueeze": [1],
    "Upsample": [1],
    **{name: [1] for name in OPERATORS if name.startswith("Reduce")},
}
"""Which inputs are sizes, axes or numbers that are read, best where they are on the CPU."""
