"""The nodes of an ONNX graph as steps, and which of them a compiler needs not see.

Sizes, axes and shapes come of the size of the images alone, but nodes compute them as tensors,
whose values a compiler does not know: torch.compile would cut the graph at each of them. What is
computed on the CPU from them, as masks are, cannot be a part of a CUDA graph.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.programs.onnx_operators import SIZE_READERS
from models.programs.onnx_shape_operators import Operator

_MADE_ON_CPU = frozenset({"Shape", "Size", "Range", "ConstantOfShape"})


class Step(NamedTuple):
    """A node, ready to run."""

    name: str
    kind: str
    run: Operator
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done_with: tuple[str, ...]
    """Values that no later node takes."""


OnStep = Callable[[Step, Sequence[Any], Sequence[Any]], None]
"""Called with a step, its inputs and its results."""


class ConstantPlan(NamedTuple):
    """What is known of a graph for images of one shape on one device."""

    values: Mapping[str, Mapping[int, Any]]
    """Of a step, by its first output: the inputs that are known, by place. Sizes are numbers."""
    steps: tuple[int, ...]
    """Those that are left to run, once these are known."""


class ConstantRecorder:
    """Reads sizes, and what is computed on the CPU for a GPU, while a graph runs."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        stored: Iterable[str],
        on_cpu: Iterable[str],
        device: torch.device,
    ) -> None:
        """Tell which values come of stored tensors and sizes alone, whatever the images show.

        Args:
            steps: Of the graph.
            stored: The values that are stored, wherever they are.
            on_cpu: Those of them that are on the CPU always.
            device: Of the images.
        """
        self._steps, self._device = steps, device
        self._constant = set(stored)
        self._from_cpu = set(on_cpu)
        self._values: dict[str, dict[int, Any]] = {}
        for step in steps:
            is_size = step.kind in ("Shape", "Size")
            if not is_size and not all(name in self._constant for name in step.inputs if name):
                continue
            self._constant.update(step.outputs)
            if step.kind in _MADE_ON_CPU or not self._from_cpu.isdisjoint(step.inputs):
                self._from_cpu.update(step.outputs)

    def note(self, step: Step, inputs: Sequence[Any], _results: Sequence[Any]) -> None:
        """Read what a step takes of sizes, and of what is not where the images are."""
        known: dict[int, Any] = {}
        self._values[step.outputs[0]] = known
        is_constant = self._constant.issuperset(step.outputs)
        for place, (name, value) in enumerate(zip(step.inputs, inputs, strict=True)):
            if name not in self._constant or not isinstance(value, Tensor):
                continue
            if place in SIZE_READERS.get(step.kind, ()):
                known[place] = value.tolist()
            elif name in self._from_cpu and self._device.type != "cpu" and not is_constant:
                known[place] = value.to(self._device)

    def plan(self, output: str) -> ConstantPlan:
        """Return the plan, after a run, of a graph that gives `output`."""
        needed, left = {output}, []
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            if needed.isdisjoint(step.outputs):
                continue
            left.append(number)
            known = self._values[step.outputs[0]]
            needed.update(name for place, name in enumerate(step.inputs) if place not in known)
        values = {name: known for name, known in self._values.items() if known}
        return ConstantPlan(values, tuple(reversed(left)))
