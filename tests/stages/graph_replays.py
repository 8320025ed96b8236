"""A stand-in for CUDA graphs on the CPU: what a pass returned is written over by the next one."""

import contextlib
import math
import weakref
from collections.abc import Iterator

import pytest
from torch import Tensor, nn
from torch.utils import _pytree

from stages.training.device import Compute


class GraphReplays:
    """Spoils the outputs of all compiled passes when the next begins, unless a backward waits."""

    def __init__(self) -> None:
        self.passes = 0
        self._outputs: list[weakref.ref[Tensor]] = []
        self._backward_waits = False
        self._is_eager = False

    def compile(self, network: nn.Module, **_options: object) -> None:
        def replay(*inputs: Tensor) -> object:
            if self._is_eager:
                return network.forward(*inputs)
            if not self._backward_waits:
                self._spoil(inputs)
            outputs = network.forward(*inputs)
            self.passes += 1
            for output in _pytree.tree_leaves(outputs):
                self._outputs.append(weakref.ref(output))
                if output.requires_grad:
                    self._backward_waits = True
                    output.register_hook(self._backward_came)
            return outputs

        network._compiled_call_impl = replay

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        self._is_eager = True
        yield
        self._is_eager = False

    def _backward_came(self, _gradient: Tensor) -> None:
        self._backward_waits = False

    def _spoil(self, inputs: tuple[Tensor, ...]) -> None:
        for reference in self._outputs:
            output = reference()
            if output is not None:
                assert not any(output is value for value in inputs), (
                    "a graph reads another's output"
                )
                output.data.fill_(math.nan)
        self._outputs.clear()


def install(monkeypatch: pytest.MonkeyPatch) -> GraphReplays:
    """Put the stand-in where networks are compiled for CUDA graphs."""
    replays = GraphReplays()
    monkeypatch.setattr(
        nn.Module,
        "compile",
        lambda network, mode, **_options: replays.compile(network) if mode else None,
    )
    monkeypatch.setattr(Compute, "eager", staticmethod(replays.eager))
    return replays
