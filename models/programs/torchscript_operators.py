"""The operators of TorchScript as Python calls: on tensors torch's own, on the rest Python's.

Sizes and what is computed from them are Python numbers throughout, so that torch.compile knows
their values; a graph has them as tensors of one number now and then.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.programs.fault import UnusableProgram

Run = Callable[[list[Any], torch.device], Any]
"""Called with the inputs of a node and the device of the images; returns what the node gives."""

_REFUSED = frozenset(
    {"aten::save", "aten::from_file", "prim::PythonOp", "prim::fork", "aten::wait"}
)
_HANDLED_BY_GRAPH = frozenset({"prim::GetAttr", "prim::Constant", "prim::If", "prim::Loop"})
_DTYPES = {
    0: torch.uint8, 1: torch.int8, 2: torch.int16, 3: torch.int32, 4: torch.int64, 5: torch.half,
    6: torch.float32, 7: torch.float64, 11: torch.bool, 15: torch.bfloat16,
}  # fmt: skip
"""TorchScript's numbers of types."""


def run_of(node: Any) -> Run | None:
    """Return what runs a node, None where the graph itself does.

    Raises:
        UnusableProgram: No network needs such an operator, or this torch lacks it.
    """
    kind = node.kind()
    if kind in _HANDLED_BY_GRAPH:
        return None
    if kind in _MAKES_TENSORS:
        return _MAKES_TENSORS[kind]
    if kind in _PRIMITIVES:
        primitive = _PRIMITIVES[kind]
        return lambda inputs, _: primitive(inputs)
    run = None if kind in _REFUSED else _operator(node)
    if run is None:
        raise UnusableProgram(
            f"holds an operator that madpipe does not run ({kind})",
            "script the network without it, or give it as ONNX",
        )
    return run


def _operator(node: Any) -> Run | None:
    """Return what runs an operator of torch, None where this torch has no such operator.

    Tensors that it makes are where the images are.
    """
    try:
        run, schema = _resolved(node)
    except (AttributeError, RuntimeError):
        return None
    kind = node.kind()
    names = [argument.name if argument.kwarg_only else None for argument in schema.arguments]
    devices = {n for n, argument in enumerate(schema.arguments) if argument.name == "device"}
    tensors = {n for n, argument in enumerate(schema.arguments) if str(argument.type) == "Tensor"}
    on_lists = _ON_LISTS.get(kind)
    on_numbers = (_ON_WHOLE_NUMBERS if tensors else _ON_NUMBERS).get(kind)

    def call(inputs: list[Any], device: torch.device) -> Any:
        if on_lists is not None and inputs and isinstance(inputs[0], list | tuple | dict | str):
            return on_lists(*inputs)
        if on_numbers is not None and all(_is_number(value, tensors) for value in inputs):
            number = on_numbers(*inputs)
            if number is not None:
                return number
        makes_tensors = not any(isinstance(value, Tensor) for value in inputs)
        positional, named = [], {}
        for place, (name, stored) in enumerate(zip(names, inputs, strict=True)):
            # Constants name the device that the network was on.
            is_left_out = stored is None and place in devices and makes_tensors
            value = device if is_left_out or isinstance(stored, torch.device) else stored
            if place in tensors and isinstance(value, int | float):
                value = torch.tensor(value)
            if name is None:
                positional.append(value)
            else:
                named[name] = value
        return run(*positional, **named)

    return call


def _resolved(node: Any) -> tuple[Any, Any]:
    """Return the operator of a node with its declaration."""
    schema = torch._C.parse_schema(node.schema())  # noqa: SLF001  (the only parser there is)
    namespace, _, name = schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name)
    return getattr(packet, schema.overload_name or "default"), schema


def _is_number(value: Any, tensors: set[int]) -> bool:
    """Return whether Python can compute with a value; of what were tensors only whole numbers."""
    return isinstance(value, int | str) or (isinstance(value, float) and not tensors)


def _raise(inputs: list[Any]) -> Any:
    raise UnusableProgram(f"refuses the images ({inputs[0]})", "see the network that it is of")


def _tensor(inputs: list[Any], device: torch.device) -> Tensor:
    """Return numbers, alone or in lists, as a tensor where the images are."""
    dtype = None if inputs[1] is None else _DTYPES[inputs[1]]
    return torch.as_tensor(inputs[0], dtype=dtype, device=device)


_MAKES_TENSORS: Mapping[str, Run] = {"aten::tensor": _tensor, "aten::as_tensor": _tensor}
"""Of lists of any depth, which torch cannot be called with from Python."""

_PRIMITIVES: Mapping[str, Callable[[list[Any]], Any]] = {
    "prim::ListConstruct": list,
    "prim::TupleConstruct": tuple,
    "prim::DictConstruct": lambda inputs: dict(zip(inputs[::2], inputs[1::2], strict=True)),
    "prim::TupleUnpack": lambda inputs: inputs[0],
    "prim::ListUnpack": lambda inputs: inputs[0],
    "prim::TupleIndex": lambda inputs: inputs[0][inputs[1]],
    "prim::unchecked_cast": lambda inputs: inputs[0],
    "prim::Uninitialized": lambda _: None,
    "prim::RaiseException": _raise,
    "prim::Print": lambda _: None,
    "prim::NumToTensor": lambda inputs: inputs[0],
    "prim::dtype": lambda inputs: inputs[0].dtype,
    "prim::device": lambda inputs: inputs[0].device,
    "prim::layout": lambda inputs: inputs[0].layout,
    "prim::is_cuda": lambda inputs: inputs[0].is_cuda,
    "prim::min": lambda inputs: min(*inputs) if len(inputs) > 1 else min(inputs[0]),
    "prim::max": lambda inputs: max(*inputs) if len(inputs) > 1 else max(inputs[0]),
    "aten::size": lambda inputs: (
        list(inputs[0].shape) if len(inputs) == 1 else inputs[0].shape[inputs[1]]
    ),
    "aten::dim": lambda inputs: inputs[0].dim(),
    "aten::numel": lambda inputs: inputs[0].numel(),
    "aten::len": lambda inputs: len(inputs[0]),
    "aten::is_floating_point": lambda inputs: inputs[0].is_floating_point(),
    "aten::is_complex": lambda inputs: inputs[0].is_complex(),
    "aten::Int": lambda inputs: int(inputs[0]),
    "aten::IntImplicit": lambda inputs: int(inputs[0]),
    "aten::Float": lambda inputs: float(inputs[0]),
    "aten::Bool": lambda inputs: bool(inputs[0]),
    "aten::ScalarImplicit": lambda inputs: inputs[0],
    "aten::__is__": lambda inputs: inputs[0] is inputs[1],
    "aten::__isnot__": lambda inputs: inputs[0] is not inputs[1],
    "aten::__not__": lambda inputs: not inputs[0],
    "aten::warn": lambda _: None,
}
"""What is no operator on tensors, or has another form in Python."""

_ON_LISTS: Mapping[str, Callable[..., Any]] = {
    "aten::append": lambda values, value: values.append(value) or values,
    "aten::extend": lambda values, more: values.extend(more),
    "aten::insert": lambda values, place, value: values.insert(place, value),
    "aten::pop": lambda values, place=-1: values.pop(place),
    "aten::reverse": lambda values: values.reverse(),
    "aten::copy": list,
    "aten::list": list,
    "aten::__getitem__": lambda values, place: values[place],
    "aten::__contains__": lambda values, value: value in values,
    "aten::_set_item": operator.setitem,
    "aten::slice": lambda values, start, end, step: values[start:end:step],
    "aten::add": operator.add,
    "aten::add_": operator.iadd,
    "aten::mul": operator.mul,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::index": lambda values, value: values.index(value),
    "aten::keys": lambda values: list(values.keys()),
    "aten::values": lambda values: list(values.values()),
    "aten::items": lambda values: list(values.items()),
    "aten::format": lambda text, *values: text.format(*values),
}
"""Operators on lists, mappings and texts of any type, which torch cannot call from Python."""


def _divide_whole(a: int, b: int, rounding: str = "") -> int | None:
    """Return a rounded quotient, None for one that is not rounded."""
    if rounding == "floor":
        return a // b
    quotient = abs(a) // abs(b)
    return None if rounding != "trunc" else quotient if (a < 0) == (b < 0) else -quotient


_ON_WHOLE_NUMBERS: Mapping[str, Callable[..., Any]] = {
    "aten::add": lambda a, b, alpha=1: a + alpha * b,
    "aten::sub": lambda a, b, alpha=1: a - alpha * b,
    "aten::mul": operator.mul,
    "aten::div": _divide_whole,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::neg": operator.neg,
}
"""Those whose result on whole numbers is one, and the same as that on tensors; or None."""
_ON_NUMBERS: Mapping[str, Callable[..., Any]] = {
    **_ON_WHOLE_NUMBERS,
    "aten::div": operator.truediv,
    "aten::floordiv": operator.floordiv,
    "aten::floor": math.floor,
    "aten::ceil": math.ceil,
    "aten::sqrt": math.sqrt,
    "aten::__and__": lambda a, b: a & b,
    "aten::__or__": lambda a, b: a | b,
}
