"""A torch.compile that fails on every network, at its first pass as the real one does."""

from typing import Any

import pytest
from torch import nn

from stages.training.device import Compute


def _refuse(_graph: Any, _inputs: Any) -> Any:
    raise NotImplementedError("no such operator\nand a page on it")


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks be compiled on the CPU too, by a compiler that fails."""

    def compile_all(_: Compute, mode: str, *networks: nn.Module) -> None:
        for network in networks if mode != "off" else ():
            network.compile(backend=_refuse)

    monkeypatch.setattr(Compute, "compile", compile_all)
    monkeypatch.setattr(
        Compute, "compile_mode", lambda _, mode, **_options: "on" if mode == "auto" else mode
    )
