"""ONNX operators in torch that look at one place of a tensor at a time, or compare two."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.programs.onnx_shape_operators import Attributes, Operator, UnsupportedNode, optional

_TORCH_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float32, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
"""ONNX's numbers of types; what has half precision is computed in fp32."""


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


def _selu(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    alpha, gamma = a.get("alpha", 1.6732632), a.get("gamma", 1.0507010)
    y: Tensor = gamma * (x.clamp(min=0) + functional.elu(x.clamp(max=0), alpha))
    return y


def _swish(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x * torch.sigmoid(a.get("alpha", 1.0) * x)


def _thresholded_relu(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return torch.where(x > a.get("alpha", 1.0), x, torch.zeros_like(x))


def _mod(inputs: Sequence[Any], a: Attributes) -> Tensor:
    x, y = inputs
    return torch.fmod(x, y) if a.get("fmod") else torch.remainder(x, y)


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, _: function(inputs[0])


def _binary(function: Callable[[Any, Any], Tensor]) -> Operator:
    return lambda inputs, _: function(inputs[0], inputs[1])


def _variadic(function: Callable[[Any, Any], Tensor]) -> Operator:
    return lambda inputs, _: functools.reduce(function, inputs)


POINTWISE: Mapping[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(lambda x, y: x + y),
    "And": _binary(torch.logical_and),
    "Cast": _cast,
    "CastLike": _binary(lambda x, y: x.to(y.dtype)),
    "Ceil": _unary(torch.ceil),
    "Celu": lambda inputs, a: functional.celu(inputs[0], a.get("alpha", 1.0)),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _divide,
    "Dropout": _unary(lambda x: x),
    "Elu": lambda inputs, a: functional.elu(inputs[0], a.get("alpha", 1.0)),
    "Equal": _binary(lambda x, y: x == y),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": _gelu,
    "Greater": _binary(lambda x, y: x > y),
    "GreaterOrEqual": _binary(lambda x, y: x >= y),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(functional.hardswish),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda inputs, a: functional.leaky_relu(inputs[0], a.get("alpha", 0.01)),
    "Less": _binary(lambda x, y: x < y),
    "LessOrEqual": _binary(lambda x, y: x <= y),
    "Log": _unary(torch.log),
    "Max": _variadic(torch.maximum),
    "Mean": lambda inputs, _: functools.reduce(torch.add, inputs) / len(inputs),
    "Min": _variadic(torch.minimum),
    "Mish": _unary(functional.mish),
    "Mod": _mod,
    "Mul": _binary(lambda x, y: x * y),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _binary(torch.pow),
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(functional.softplus),
    "Softsign": _unary(functional.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(lambda x, y: x - y),
    "Sum": _variadic(torch.add),
    "Swish": _swish,
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Where": lambda inputs, _: torch.where(*inputs),
}
"""By the names of the standard."""
