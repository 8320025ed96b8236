"""The device and the arithmetic that training runs on, and how random numbers are seeded."""

import contextlib
import resource
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from pipeline import machine
from stages.training import memory_layout

_Network = TypeVar("_Network", bound=nn.Module)
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and the arithmetic of the networks on it."""

    device: torch.device
    precision: str
    """fp32 or bf16."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the type in which networks compute."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16

    def placed(self, network: _Network) -> _Network:
        """Return `network` on the device, channels last and safe to train."""
        return memory_layout.place(network, self.device)

    def peak_memory_bytes(self) -> int:
        """Return the most memory used so far: of the GPU, or of this whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def compile(self, mode: str, *networks: nn.Module) -> None:
        """Compile networks in place, where `mode` asks for it: auto, on, cuda-graphs or off."""
        if mode == "off" or (mode == "auto" and self.device.type != "cuda"):
            return
        inductor_mode = "reduce-overhead" if mode == "cuda-graphs" else None
        for network in networks:
            if self.device.type == "cpu" and memory_layout.strided_pointwise(network):
                # Inductor would lay all convolutions out channels last again.
                network.compile(options={"layout_optimization": False}, dynamic=False)
            else:
                network.compile(mode=inductor_mode, dynamic=False)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which networks run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def select(precision: str = "auto") -> Compute:
    """Return the GPU where there is one, else the CPU, with bf16 where the hardware has it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    return Compute(device, precision)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(_BF16_FLAGS & machine.cpu_flags())


def rng_state() -> dict[str, torch.Tensor]:
    """Return the states of torch's own generators, from which layers such as dropout sample."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_state(states: Mapping[str, torch.Tensor]) -> None:
    """Put torch's own generators back to where `rng_state` was called."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def seeded(seed: int, stage: str, device: torch.device) -> torch.Generator:
    """Seed all of torch for one stage and return a generator of its own.

    Two stages with one seed sample different numbers.
    """
    mixed = seed * 1_000_003 + sum(ord(letter) << (8 * (i % 4)) for i, letter in enumerate(stage))
    torch.manual_seed(mixed % 2**63)
    return torch.Generator(device=device).manual_seed(mixed % 2**63)
