"""A TorchScript network as a module: its graph run operator by operator, with gradients.

Run so, what goes into a BatchNorm can be seen, its tensors move with the module, and an operator
that no network needs is refused before anything runs.

Shape legend: B batch, C channel, H W space.
"""

import io
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from models.programs import torchscript_archive
from models.programs.fault import UnusableProgram
from models.programs.moment_tap import MomentTap

_REFUSED = frozenset(
    {"aten::save", "aten::from_file", "prim::PythonOp", "prim::fork", "aten::wait"}
)
_Values = dict[str, Any]


def load(content: bytes) -> "ScriptGraph":
    """Return the network of an archive.

    Raises:
        UnusableProgram: It is unsafe, damaged, or holds an operator that cannot be run.
    """
    safe = torchscript_archive.checked(content)
    try:
        script = load_script(safe)
        graph = script.inlined_graph
    except Exception as error:  # of many classes, by what this torch does not know
        raise UnusableProgram(
            f"cannot be read by torch {torch.__version__} ({type(error).__name__})",
            "save it with this torch, or give it as ONNX",
        ) from error
    return ScriptGraph(script, graph, content)


def load_script(content: bytes) -> Any:
    """Return the TorchScript module of an archive that was checked, in evaluation mode."""
    with warnings.catch_warnings():
        # That it is going out of use helps nobody who has such a file.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded.eval()


class ScriptGraph(nn.Module):
    """The graph of a TorchScript module in evaluation mode; one input of images."""

    def __init__(self, script: Any, graph: Any, content: bytes) -> None:
        """Take a loaded module, its inlined graph, and the archive that they are of."""
        super().__init__()
        self._content = content
        self._graph = graph
        self._runtime = [script]  # in a list, so that it is no part of this module
        self._tensors: dict[str, str] = {}
        """Name of a value -> name of the buffer that holds it."""
        self._constants: _Values = {}
        self._taps: dict[str, str] = {}
        """Name of a BatchNorm's output -> name of its tap."""
        inputs = list(graph.inputs())
        if len(inputs) != 2:  # noqa: PLR2004  (the module itself and the images)
            raise UnusableProgram(
                f"takes {len(inputs) - 1} inputs, not one of images", "script a classifier"
            )
        self._input = inputs[1].debugName()
        self._resolve(graph, {inputs[0].debugName(): script})
        self._output = next(iter(graph.outputs())).debugName()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same network from the archive, since its graph has no copy of its own."""
        copied = load(self._content).train(self.training)
        device = next((tensor.device for tensor in self.buffers()), torch.device("cpu"))
        memo[id(self)] = copied.to(device)
        return copied  # type: ignore[return-value]

    def _resolve(self, block: Any, modules: dict[str, Any]) -> None:
        """Read attributes and constants of a block once, and put a tap at each BatchNorm."""
        for node in block.nodes():
            kind = node.kind()
            if kind in _REFUSED or (kind not in _PRIMITIVES and not _is_operator(node)):
                raise UnusableProgram(
                    f"holds an operator that madpipe does not run ({kind})",
                    "script the network without it, or give it as ONNX",
                )
            if kind == "prim::GetAttr":
                owner = modules.get(node.input().debugName())
                value = getattr(owner, node.s("name"), None)
                if isinstance(value, torch.jit.ScriptModule):
                    modules[node.output().debugName()] = value
                else:
                    self._keep(node.output().debugName(), value)
            elif kind == "prim::Constant":
                self._keep(node.output().debugName(), node.output().toIValue())
            elif kind == "aten::batch_norm":
                self._add_tap(node)
            for inner in node.blocks():
                self._resolve(inner, modules)

    def _keep(self, name: str, value: Any) -> None:
        # Single integers are for sizes, which are computed on the CPU.
        if isinstance(value, Tensor) and (value.dim() or value.is_floating_point()):
            self._tensors[name] = f"stored{len(self._tensors)}"
            self.register_buffer(self._tensors[name], value.detach().clone(), persistent=False)
        else:
            self._constants[name] = value

    def _add_tap(self, node: Any) -> None:
        names = [value.debugName() for value in node.inputs()]
        if names[3] in self._tensors and names[4] in self._tensors:
            tap = f"moment_tap{len(self._taps)}"
            mean, var = (getattr(self, self._tensors[name]) for name in names[3:5])
            self.add_module(tap, MomentTap(mean, var))
            self._taps[node.output().debugName()] = tap

    def forward(self, x_BCHW: Tensor) -> Any:
        """Return what the network gives for images as it takes them.

        Without gradients its own runtime computes it on the CPU, which is faster. It cannot move:
        devices and tensors in its code stay what they are.
        """
        if not torch.is_grad_enabled() and x_BCHW.device.type == "cpu":
            return self._runtime[0](x_BCHW)
        values: _Values = {self._input: x_BCHW}
        self.run(self._graph, values)
        return self._value(self._output, values)

    def run(self, block: Any, values: _Values) -> None:
        """Run the nodes of a block; `values` has what was computed before, by name."""
        for node in block.nodes():
            kind = node.kind()
            if kind in ("prim::GetAttr", "prim::Constant"):
                continue
            names = [value.debugName() for value in node.outputs()]
            if kind in _CONTROL:
                results = _CONTROL[kind](self, node, values)
                values.update(zip(names, results, strict=True))
                continue
            inputs = [self._value(value.debugName(), values) for value in node.inputs()]
            if names and (tap := self._taps.get(names[0])):
                inputs[0] = getattr(self, tap)(inputs[0])
            result = _run_node(node, inputs, values[self._input].device)
            if len(names) == 1:
                values[names[0]] = result
            else:
                values.update(zip(names, result or (), strict=True))

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if name in values:
            return values[name]
        if name in self._tensors:
            return getattr(self, self._tensors[name])
        return self._constants[name]

    def branch(self, node: Any, values: _Values) -> list[Any]:
        """Return the results of an If."""
        condition = self._value(node.input().debugName(), values)
        block = list(node.blocks())[0 if condition else 1]
        self.run(block, values)
        return [self._value(value.debugName(), values) for value in block.outputs()]

    def loop(self, node: Any, values: _Values) -> list[Any]:
        """Return the results of a Loop."""
        most, goes_on, *carried = (self._value(v.debugName(), values) for v in node.inputs())
        (block,) = node.blocks()
        names = [value.debugName() for value in block.inputs()]
        number = 0
        while goes_on and number < most:
            values.update(zip(names, [number, *carried], strict=True))
            self.run(block, values)
            results = [self._value(value.debugName(), values) for value in block.outputs()]
            goes_on, carried = results[0], results[1:]
            number += 1
        return carried


_CONTROL: Mapping[str, Callable[[ScriptGraph, Any, _Values], list[Any]]] = {
    "prim::If": ScriptGraph.branch,
    "prim::Loop": ScriptGraph.loop,
}


def _raise(inputs: list[Any]) -> Any:
    raise UnusableProgram(f"refuses the images ({inputs[0]})", "see the network that it is of")


_PRIMITIVES: Mapping[str, Callable[[list[Any]], Any] | None] = {
    **dict.fromkeys(("prim::GetAttr", "prim::Constant", "prim::If", "prim::Loop")),
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
    "prim::NumToTensor": lambda inputs: torch.tensor(inputs[0]),
    "prim::dtype": lambda inputs: inputs[0].dtype,
    "prim::device": lambda inputs: inputs[0].device,
    "prim::layout": lambda inputs: inputs[0].layout,
    "prim::is_cuda": lambda inputs: inputs[0].is_cuda,
    "prim::min": lambda inputs: min(*inputs) if len(inputs) > 1 else min(inputs[0]),
    "prim::max": lambda inputs: max(*inputs) if len(inputs) > 1 else max(inputs[0]),
    "aten::size": lambda inputs: (
        list(inputs[0].shape) if len(inputs) == 1 else inputs[0].shape[inputs[1]]
    ),
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
    "aten::len": len,
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


def _is_operator(node: Any) -> bool:
    """Return whether a node is an operator that torch can call."""
    try:
        _operator(node)
    except (AttributeError, RuntimeError):
        return False
    return True


def _operator(node: Any) -> tuple[Any, Any]:
    """Return the operator of a node with its declaration."""
    schema = torch._C.parse_schema(node.schema())  # noqa: SLF001  (the only parser there is)
    namespace, _, name = schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name)
    return getattr(packet, schema.overload_name or "default"), schema


def _run_node(node: Any, inputs: list[Any], device: torch.device) -> Any:
    """Return what a node computes; tensors that it makes are on the device of the images."""
    primitive = _PRIMITIVES.get(node.kind())
    if primitive is not None:
        return primitive(inputs)
    if inputs and isinstance(inputs[0], list | tuple | dict | str):
        on_lists = _ON_LISTS.get(node.kind())
        if on_lists is not None:
            return on_lists(*inputs)
    run, schema = _operator(node)
    positional, named = [], {}
    makes_tensors = not any(isinstance(value, Tensor) for value in inputs)
    for argument, stored in zip(schema.arguments, inputs, strict=True):
        # Constants name the device that the network was on.
        is_left_out = stored is None and argument.name == "device" and makes_tensors
        is_device = isinstance(stored, torch.device) or is_left_out
        value = device if is_device else stored
        if argument.kwarg_only:
            named[argument.name] = value
        else:
            positional.append(value)
    return run(*positional, **named)
