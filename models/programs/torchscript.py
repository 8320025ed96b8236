"""A TorchScript network as a module: its graph run operator by operator, with gradients.

Run so, what goes into a BatchNorm can be seen, its tensors move with the module, and an operator
that no network needs is refused before anything runs.

Shape legend: B batch, C channel, H W space.
"""

import io
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from models.programs import torchscript_archive
from models.programs.fault import UnusableProgram
from models.programs.moment_tap import MomentTap
from models.programs.torchscript_operators import Run, run_of

_Values = dict[str, Any]
_NUMBERS = (torch.int64, torch.bool)


class _Step(NamedTuple):
    """A node, ready to run."""

    kind: str
    run: Run | None
    """None where the graph runs it."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    blocks: tuple["_Block", ...]


class _Block(NamedTuple):
    """Nodes that run one after the other: a network, or a branch or a round of one."""

    inputs: tuple[str, ...]
    steps: tuple[_Step, ...]
    outputs: tuple[str, ...]


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
        self._network = self._block(graph, {inputs[0].debugName(): script})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same network from the archive, since its runtime has no copy of its own."""
        copied = load(self._content).train(self.training)
        device = next((tensor.device for tensor in self.buffers()), torch.device("cpu"))
        memo[id(self)] = copied.to(device)
        return copied  # type: ignore[return-value]

    def _block(self, block: Any, modules: dict[str, Any]) -> _Block:
        """Return the steps of a block; keep what it stores, and put a tap at each BatchNorm."""
        steps = []
        for node in block.nodes():
            kind, run = node.kind(), run_of(node)
            if kind == "prim::GetAttr":
                owner = modules.get(node.input().debugName())
                value = getattr(owner, node.s("name"), None)
                if isinstance(value, torch.jit.ScriptModule):
                    modules[node.output().debugName()] = value
                else:
                    self._keep(node.output().debugName(), value)
            elif kind == "prim::Constant":
                self._keep(node.output().debugName(), node.output().toIValue())
            else:
                inputs, outputs = _names(node.inputs()), _names(node.outputs())
                if kind == "aten::batch_norm":
                    self._add_tap(inputs, outputs[0])
                blocks = tuple(self._block(inner, modules) for inner in node.blocks())
                steps.append(_Step(kind, run, inputs, outputs, blocks))
        return _Block(_names(block.inputs()), tuple(steps), _names(block.outputs()))

    def _keep(self, name: str, value: Any) -> None:
        if not isinstance(value, Tensor):
            self._constants[name] = value
        elif not value.dim() and value.dtype in _NUMBERS:
            self._constants[name] = value.item()  # for sizes
        else:
            self._tensors[name] = f"stored{len(self._tensors)}"
            self.register_buffer(self._tensors[name], value.detach().clone(), persistent=False)

    def _add_tap(self, inputs: tuple[str, ...], output: str) -> None:
        if inputs[3] in self._tensors and inputs[4] in self._tensors:
            tap = f"moment_tap{len(self._taps)}"
            mean, var = (getattr(self, self._tensors[name]) for name in inputs[3:5])
            self.add_module(tap, MomentTap(mean, var))
            self._taps[output] = tap

    def forward(self, x_BCHW: Tensor) -> Any:
        """Return what the network gives for images as it takes them.

        Without gradients its own runtime computes it on the CPU, which is faster. It cannot move:
        devices and tensors in its code stay what they are.
        """
        if not torch.is_grad_enabled() and x_BCHW.device.type == "cpu":
            return self._runtime[0](x_BCHW)
        values: _Values = {self._input: x_BCHW}
        (output,) = self._run(self._network, values)
        return output

    def _run(self, block: _Block, values: _Values) -> list[Any]:
        """Return the results of a block; `values` has what was computed before, by name."""
        device = values[self._input].device
        for step in block.steps:
            inputs = [self._value(name, values) for name in step.inputs]
            if step.run is None:
                results = self._branch if step.kind == "prim::If" else self._loop
                values.update(zip(step.outputs, results(step, inputs, values), strict=True))
                continue
            if step.outputs and (tap := self._taps.get(step.outputs[0])):
                inputs[0] = getattr(self, tap)(inputs[0])
            result = step.run(inputs, device)
            if len(step.outputs) == 1:
                values[step.outputs[0]] = result
            else:
                values.update(zip(step.outputs, result or (), strict=True))
        return [self._value(name, values) for name in block.outputs]

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if name in values:
            return values[name]
        if name in self._tensors:
            return getattr(self, self._tensors[name])
        return self._constants[name]

    def _branch(self, step: _Step, inputs: list[Any], values: _Values) -> list[Any]:
        """Return the results of an If."""
        return self._run(step.blocks[0 if inputs[0] else 1], values)

    def _loop(self, step: _Step, inputs: list[Any], values: _Values) -> list[Any]:
        """Return the results of a Loop."""
        most, goes_on, *carried = inputs
        (block,) = step.blocks
        number = 0
        while goes_on and number < most:
            values.update(zip(block.inputs, [number, *carried], strict=True))
            goes_on, *carried = self._run(block, values)
            number += 1
        return carried


def _names(values: Any) -> tuple[str, ...]:
    return tuple(value.debugName() for value in values)
