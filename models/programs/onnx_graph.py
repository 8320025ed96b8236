"""An ONNX graph as a torch module: its nodes run one by one, with gradients.

QuantizeLinear and DequantizeLinear are fake quantisation with straight-through gradients, so what
is trained is the very graph that a backend runs.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.programs.fault import UnusableProgram
from models.programs.moment_tap import MomentTap
from models.programs.onnx_operators import OPERATORS, SIZE_READERS
from models.programs.onnx_shape_operators import Operator, UnsupportedNode, number
from models.programs.onnx_steps import ConstantPlan, ConstantRecorder, OnStep, Step

_KNOWN = {"QuantizeLinear", "DequantizeLinear", *OPERATORS}
_ONNX = ("", "ai.onnx")
_RANGES: Mapping[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
}
"""Integers of quantized activations, by the type of their zero point."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_NOTHING: Mapping[str, Tensor] = {}


class TorchGraph(nn.Module):
    """A model with one input and one output; its stored tensors are constants."""

    def __init__(self, model: ModelProto) -> None:
        """Read a model whose nodes have names.

        Raises:
            UnsupportedNode: A node has no equivalent here; names it.
            UnusableProgram: Its tensors lie in other files.
        """
        super().__init__()
        graph = model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self.taps = nn.ModuleList()
        self._opset = next(o.version for o in model.opset_import if o.domain in _ONNX)
        self._on_cpu: dict[str, Tensor] = {}
        self._copies: dict[tuple[str, torch.device], Tensor] = {}
        """Of such constants on other devices, where operators on images take them."""
        self._buffer_of: dict[str, str] = {}
        self._plans: dict[tuple[tuple[int, ...], torch.device], ConstantPlan] = {}
        """By the shape of the images and their device."""
        self._ranges: dict[str, tuple[int, int]] = {}
        self._quantized = {
            name
            for node in graph.node
            if node.op_type in ("QuantizeLinear", "DequantizeLinear")
            for name in node.input
        }
        for tensor in graph.initializer:
            self._store(tensor, tensor.name)
        self._makers = {name: node for node in graph.node for name in node.output}
        last_use = {name: n for n, node in enumerate(graph.node) for name in node.input}
        self._steps: list[Step] = []
        for place, node in enumerate(graph.node):
            if node.op_type == "Constant":
                (attribute,) = node.attribute
                if attribute.name == "value":
                    self._store(attribute.t, node.output[0])
                else:
                    array = np.array(helper.get_attribute_value(attribute))
                    is_float = array.dtype.kind == "f"
                    array = array.astype(np.float32 if is_float else np.int64)
                    self._store(numpy_helper.from_array(array), node.output[0])
                continue
            used = dict.fromkeys(name for name in node.input if name)
            done_with = tuple(name for name in used if last_use[name] == place)
            self._steps.append(self._step(node, done_with))

    def _store(self, tensor: TensorProto, name: str) -> None:
        """Keep a constant: floats move with the module, sizes and shapes stay on the CPU."""
        if tensor.data_type in _RANGES:
            self._ranges[name] = _RANGES[tensor.data_type]
        if tensor.data_type not in _FLOATS and name not in self._quantized:
            self._on_cpu[name] = torch.from_numpy(_array(tensor).copy())
            return
        self._buffer_of[name] = f"stored{len(self._buffer_of)}"
        array = _array(tensor).astype(np.float32)
        self.register_buffer(self._buffer_of[name], torch.from_numpy(array), persistent=False)

    def stored(self, name: str) -> Tensor:
        """Return a constant of the graph."""
        if name in self._on_cpu:
            return self._on_cpu[name]
        constant: Tensor = getattr(self, self._buffer_of[name])
        return constant

    def _step(self, node: NodeProto, done_with: tuple[str, ...]) -> Step:
        has_graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
        if node.op_type not in _KNOWN or node.domain not in _ONNX or has_graphs:
            raise UnsupportedNode(f"{node.op_type} ({node.name})")
        attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        attributes |= {"outputs": len(node.output), "opset": self._opset}
        if isinstance(fill := attributes.get("value"), Tensor):
            attributes |= {"value": number(fill), "dtype": fill.dtype}
        run: Operator
        if node.op_type == "QuantizeLinear":
            run = self._quantize
            zero_point = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004
            attributes["range"] = self._ranges.get(zero_point, _RANGES[TensorProto.UINT8])
        elif node.op_type == "DequantizeLinear":
            run = self._dequantize_pair if self._is_pair(node) else _dequantize
        elif node.op_type == "BatchNormalization" and not attributes.get("training_mode"):
            run = self._tapped(node)
        else:
            run = OPERATORS[node.op_type]
        inputs, outputs = tuple(node.input), tuple(node.output)
        return Step(node.name, node.op_type, run, attributes, inputs, outputs, done_with)

    def _tapped(self, node: NodeProto) -> Operator:
        """Return the operator of a BatchNorm, behind a tap where its moments are stored."""
        plain = OPERATORS[node.op_type]
        if not all(name in self._buffer_of for name in node.input[3:5]):
            return plain
        tap = MomentTap(*(self.stored(name) for name in node.input[3:5]))
        self.taps.append(tap)
        return lambda inputs, attributes: plain([tap(inputs[0]), *inputs[1:]], attributes)

    def _is_pair(self, node: NodeProto) -> bool:
        """Return whether a DequantizeLinear undoes a QuantizeLinear; UnsupportedNode for others."""
        maker = self._makers.get(node.input[0])
        if maker is None or maker.op_type == "Constant":
            return False
        if maker.op_type != "QuantizeLinear" or maker.input[1:] != node.input[1:]:
            raise UnsupportedNode(f"DequantizeLinear of {maker.op_type} ({node.name})")
        return True

    @staticmethod
    def _quantize(inputs: Sequence[Any], a: Mapping[str, Any]) -> Tensor:
        """Return what the pair of this node and its DequantizeLinear makes."""
        x, scale = inputs[:2]
        zero_point = inputs[2] if len(inputs) > 2 else torch.zeros_like(scale)  # noqa: PLR2004
        axis = a.get("axis", 1)
        low, high = a["range"]
        return fake_quantize(
            x, along(scale, axis, x.dim()), along(zero_point, axis, x.dim()), low=low, high=high
        )

    @staticmethod
    def _dequantize_pair(inputs: Sequence[Any], _: Mapping[str, Any]) -> Tensor:
        x: Tensor = inputs[0]
        return x

    def forward(self, x: Tensor, instead: Mapping[str, Tensor] = _NOTHING) -> Tensor:
        """Return the output for images as the model takes them.

        `instead` has tensors that take the place of stored or computed ones, by name.

        Raises:
            UnsupportedNode: A node cannot be run with these values; names it.
        """
        plan = None
        if torch.compiler.is_dynamo_compiling():
            place = (tuple(x.shape), x.device)
            self._make_plan(*place)
            plan = self._plans[place]
        return self._run(x, instead, plan=plan)

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _make_plan(self, shape: tuple[int, ...], device: torch.device) -> None:
        """Get to know what is constant for images of one shape, by a run with empty ones."""
        if (shape, device) not in self._plans:
            recorder = ConstantRecorder(
                self._steps,
                stored=[*self._on_cpu, *self._buffer_of],
                on_cpu=self._on_cpu,
                device=device,
            )
            self._run(torch.zeros(shape, device=device), _NOTHING, recorder.note)
            self._plans[shape, device] = recorder.plan(self._output)

    def without_gradient(self, x: Tensor) -> list[str]:
        """Return the nodes, with their operators, whose results lose the gradient of images."""
        names: list[str] = []

        def note(step: Step, inputs: Sequence[Any], results: Sequence[Any]) -> None:
            def differs(values: Sequence[Any]) -> bool:
                return any(isinstance(v, Tensor) and v.requires_grad for v in values)

            # Sizes have none by nature.
            if differs(inputs) and not differs(results) and step.kind not in ("Shape", "Size"):
                names.append(f"{step.kind} ({step.name})")

        self._run(x.detach().requires_grad_(), _NOTHING, note)
        return names

    def _run(
        self,
        x: Tensor,
        instead: Mapping[str, Tensor],
        on_step: OnStep = lambda _step, _inputs, _results: None,
        plan: ConstantPlan | None = None,
    ) -> Tensor:
        values: dict[str, Any] = {"": None, self._input: x, **instead}
        steps = self._steps if plan is None else [self._steps[n] for n in plan.steps]
        for step in steps:
            if all(name in values for name in step.outputs):
                continue
            known = {} if plan is None else plan.values.get(step.outputs[0], {})
            inputs = [
                known[place] if place in known else self._value(name, values)
                for place, name in enumerate(step.inputs)
            ]
            if x.device.type != "cpu" and step.kind not in SIZE_READERS:
                inputs = self._together(step, inputs, x.device)
            try:
                results = step.run(inputs, step.attributes)
            except UnsupportedNode as error:
                raise UnsupportedNode(f"{step.name}: {error}") from error
            results = (results,) if isinstance(results, Tensor) else results
            on_step(step, inputs, results)
            values.update(zip(step.outputs, results, strict=True))
            for name in step.done_with:
                values.pop(name, None)
        logits: Tensor = values[self._output]
        return logits

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        return values[name] if name in values else self.stored(name)

    def _together(self, step: Step, inputs: Sequence[Any], device: torch.device) -> list[Any]:
        """Return the inputs of a node on the device of the images, if one of them is there.

        Masks and indices are constants, and what comes of sizes is computed, on the CPU. Single
        numbers may stay: torch takes them from there.
        """
        if not any(isinstance(value, Tensor) and value.device == device for value in inputs):
            return list(inputs)
        return [
            self._moved(name, value, device)
            if isinstance(value, Tensor) and value.dim() and value.device != device
            else value
            for name, value in zip(step.inputs, inputs, strict=True)
        ]

    def _moved(self, name: str, value: Tensor, device: torch.device) -> Tensor:
        if self._on_cpu.get(name) is not value:
            return value.to(device, non_blocking=True)
        if (name, device) not in self._copies:
            self._copies[name, device] = value.to(device)
        return self._copies[name, device]


def fake_quantize(x: Tensor, scale: Tensor, zero_point: Tensor, *, low: int, high: int) -> Tensor:
    """Return `x` rounded to integers from `low` to `high` and back, as Q/DQ nodes do.

    The gradient goes straight through within the range; a scale gets that of LSQ (Esser et al.
    2020, equation 3), summed over what shares it.
    """
    rounded: Tensor = _FakeQuantize.apply(x, scale, zero_point, (low, high))
    return rounded


class _FakeQuantize(torch.autograd.Function):
    """Rounding with the gradients that `fake_quantize` names."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]
    ) -> Tensor:
        """Divide as the standard says: torch's own multiplies by the inverse, and so differs."""
        q = (x / scale).round_().add_(zero_point)
        inside = (q >= limits[0]) & (q <= limits[1])
        y = q.clamp_(*limits).sub_(zero_point).mul_(scale)
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(inside, x, y, scale)
        else:
            ctx.save_for_backward(inside)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `x` and of the scale."""
        (grad,) = grads
        inside = ctx.saved_tensors[0]
        inner = grad * inside
        grad_scale = None
        if ctx.needs_input_grad[1]:
            _, x, y, scale = ctx.saved_tensors
            # Within the range y / s - x / s, beyond it y / s: the integer at its end.
            grad_scale = ((grad * y - inner * x).sum_to_size(scale.shape)) / scale
        return inner, grad_scale, None, None


def along(values: Tensor, axis: int, dims: int) -> Tensor:
    """Return a scale or zero point so that it broadcasts along an axis of a tensor of `dims`."""
    if values.numel() == 1:
        return values.reshape(())
    sizes = [1] * dims
    sizes[axis % dims] = -1
    return values.reshape(sizes)


def _dequantize(inputs: Sequence[Any], a: Mapping[str, Any]) -> Tensor:
    """Return the floats of stored integers."""
    if a.get("block_size"):
        raise UnsupportedNode("scales for blocks")
    x, scale = inputs[:2]
    axis = a.get("axis", 1)
    dims = x.dim()
    floats: Tensor = x - along(inputs[2], axis, dims) if len(inputs) > 2 else x  # noqa: PLR2004
    return floats * along(scale, axis, dims)


def _array(tensor: TensorProto) -> NDArray[Any]:
    """Return the values of a tensor, which lie in the model itself."""
    # They would be looked for in the folder that the process runs in.
    if tensor.data_location == TensorProto.EXTERNAL:
        raise UnusableProgram("keeps weights in other files", "put them into the file")
    return numpy_helper.to_array(tensor)


def _plain(value: Any) -> Any:
    """Return an attribute as Python and torch have it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return torch.from_numpy(_array(value).copy())
    return value if isinstance(value, (int, float, str)) else list(value)
