"""ONNX operators in torch: those that image classifiers are made of, with gradients.

Each is called with the values of a node's inputs, None where one is left out, and its attributes.
Sizes, axes and shapes are integers on the CPU.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.onnxgraph import torch_shape_operators as shape_operators
from stages.onnxgraph.torch_shape_operators import (
    Attributes,
    Operator,
    UnsupportedNode,
    ints,
    optional,
)

_TORCH_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float32, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
"""ONNX's numbers of types; what has half precision is computed in fp32."""


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
    y: Tensor = run(
        x,
        weight,
        optional(inputs, 2),
        stride=a.get("strides", [1] * dims),
        padding=symmetric,
        dilation=a.get("dilations", [1] * dims),
        groups=a.get("group", 1),
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


def _clip(inputs: Sequence[Any], a: Attributes) -> Tensor:
    low, high = optional(inputs, 1), optional(inputs, 2)
    low = a.get("min") if low is None else low
    high = a.get("max") if high is None else high
    x: Tensor = inputs[0]
    return x if low is None and high is None else x.clamp(low, high)


def _prelu(inputs: Sequence[Any], a: Attributes) -> Tensor:  # noqa: ARG001
    x: Tensor = inputs[0]
    return torch.where(x < 0, x * inputs[1], x)


def _gelu(inputs: Sequence[Any], a: Attributes) -> Tensor:
    return functional.gelu(inputs[0], approximate=a.get("approximate", "none"))


def _divide(inputs: Sequence[Any], a: Attributes) -> Tensor:  # noqa: ARG001
    x, y = inputs
    quotient: Tensor = x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")
    return quotient


def _cast(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    if a["to"] not in _TORCH_TYPES:
        raise UnsupportedNode(f"its type ({a['to']})")
    return x.to(_TORCH_TYPES[a["to"]])


def _hard_sigmoid(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    line: Tensor = a.get("alpha", 0.2) * x + a.get("beta", 0.5)
    return line.clamp(0, 1)


def _resize(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    scales, sizes = optional(inputs, 2), optional(inputs, 3)
    how = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    nearest = how == ("nearest", "asymmetric") and a.get("nearest_mode") == "floor"
    if not nearest and how not in (("linear", "half_pixel"), ("linear", "pytorch_half_pixel")):
        raise UnsupportedNode(f"its mode ({', '.join(how)})")
    if sizes is not None and len(sizes):
        size = ints(sizes)[2:]
    else:
        factors = scales.tolist()[2:]
        size = [int(edge * factor) for edge, factor in zip(x.shape[2:], factors, strict=True)]
    return functional.interpolate(x, size, mode="nearest" if nearest else "bilinear")


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, _: function(inputs[0])


def _binary(function: Callable[[Any, Any], Tensor]) -> Operator:
    return lambda inputs, _: function(inputs[0], inputs[1])


OPERATORS: Mapping[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(lambda x, y: x + y),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, a: torch.cat(list(inputs), dim=a["axis"]),
    "ConstantOfShape": shape_operators.constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _divide,
    "Dropout": _unary(lambda x: x),
    "Elu": lambda inputs, a: functional.elu(inputs[0], a.get("alpha", 1.0)),
    "Equal": _binary(lambda x, y: x == y),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": lambda inputs, _: inputs[0].expand(
        np.broadcast_shapes(tuple(inputs[0].shape), tuple(ints(inputs[1])))
    ),
    "Flatten": shape_operators.flatten,
    "Gather": shape_operators.gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _unary(lambda x: x.mean(list(range(2, x.dim())), keepdim=True)),
    "GlobalMaxPool": _unary(lambda x: x.amax(list(range(2, x.dim())), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(functional.hardswish),
    "Identity": _unary(lambda x: x),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda inputs, a: functional.leaky_relu(inputs[0], a.get("alpha", 0.01)),
    "Log": _unary(torch.log),
    "LogSoftmax": lambda inputs, a: inputs[0].log_softmax(a.get("axis", -1)),
    "MatMul": _binary(lambda x, y: x @ y),
    "Max": _binary(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _binary(torch.minimum),
    "Mul": _binary(lambda x, y: x * y),
    "Neg": _unary(torch.neg),
    "PRelu": _prelu,
    "Pad": shape_operators.pad,
    "Pow": _binary(torch.pow),
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceMax": shape_operators.reduce(torch.amax),
    "ReduceMean": shape_operators.reduce(torch.mean),
    "ReduceMin": shape_operators.reduce(torch.amin),
    "ReduceSum": shape_operators.reduce(torch.sum),
    "Relu": _unary(torch.relu),
    "Reshape": shape_operators.reshape,
    "Resize": _resize,
    "Shape": shape_operators.shape,
    "Sigmoid": _unary(torch.sigmoid),
    "Slice": shape_operators.cut,
    "Softmax": lambda inputs, a: inputs[0].softmax(a.get("axis", -1)),
    "Softplus": _unary(functional.softplus),
    "Split": shape_operators.split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": shape_operators.squeeze,
    "Sub": _binary(lambda x, y: x - y),
    "Tanh": _unary(torch.tanh),
    "Transpose": lambda inputs, a: inputs[0].permute(
        a.get("perm", list(reversed(range(inputs[0].dim()))))
    ),
    "Unsqueeze": shape_operators.unsqueeze,
    "Where": lambda inputs, _: torch.where(*inputs),
}
"""By the names of the standard."""
