"""The device, the arithmetic and the memory layout of training, and how random numbers are seeded.

Shape legend: B batch, C channel, H W space.
"""

import contextlib
import gc
import os
import resource
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline import machine
from pipeline.errors import error_summary
from pipeline.stage import StageError
from stages.training import cpu_convolutions

_Network = TypeVar("_Network", bound=nn.Module)
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_COMPILER = "torch._dynamo"
"""Takes seconds to import, so it is asked only where it has been: where something is compiled."""
_CPU_ALLOCATOR = "DefaultCPUAllocator"
"""Names itself in the RuntimeError that torch raises where the machine's memory is too small."""


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
        """Return `network` on the device, laid out channels last and safe to train there.

        On the CPU layers compute so that oneDNN gives them their gradients, see
        `stages.training.cpu_convolutions`.
        """
        network = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            cpu_convolutions.make_safe(network, self.dtype)
        return network

    def peak_memory_bytes(self) -> int:
        """Return the most memory used so far: of the GPU, or of this whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def compile_mode(self, mode: str, *, can_replay: bool = True) -> str:
        """Return `mode` with `auto` resolved: off on the CPU, else CUDA graphs, else on.

        Without graphs a GPU waits for its host: on an H100 a training round of ResNet-34 to
        ResNet-18 took 3.2 times as long (benchmarks/2026-11-26-gpu.md).

        Args:
            mode: auto, off, on or cuda-graphs.
            can_replay: Whether each pass may write over the outputs of the one before.
        """
        if mode != "auto":
            return mode
        if self.device.type != "cuda" or self.why_eager():
            return "off"
        return "cuda-graphs" if can_replay else "on"

    def compile(self, mode: str, *networks: nn.Module) -> None:
        """Compile networks in place, as `mode` says: off, on or cuda-graphs."""
        if mode == "off":
            return
        inductor_mode = "reduce-overhead" if mode == "cuda-graphs" else None
        for network in networks:
            if self.device.type == "cpu" and cpu_convolutions.strided_pointwise(network):
                # Inductor would lay all convolutions out channels last again.
                network.compile(options={"layout_optimization": False}, dynamic=False)
            else:
                network.compile(mode=inductor_mode, dynamic=False)

    def why_eager(self, mode: str = "auto") -> str | None:
        """Return why `auto` compiles nothing for a GPU; None where it does, and for other modes."""
        if self.device.type != "cuda" or mode != "auto":
            return None
        # Debian's own scheme names a folder where they never lie; Triton passes it by as well.
        header = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")
        missing = []
        if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
            missing.append("a C compiler (gcc, clang or CC)")
        if not header.is_file():
            missing.append(f"Python's headers ({header})")
        if not missing:
            return None
        return f"networks are not compiled for the GPU, for lack of {' and '.join(missing)}"

    @staticmethod
    def give_up_compiling(error: RuntimeError, mode: str, *networks: nn.Module) -> str:
        """Let networks that torch.compile fails on run as they were written; return a note on it.

        Raises:
            RuntimeError: `error` itself, where it is no error of torch.compile.
            StageError: `mode` is not auto, so the settings want them compiled.
        """
        compiler = sys.modules.get(_COMPILER)
        if compiler is None or not isinstance(error, compiler.exc.TorchDynamoException):
            raise error
        why = error_summary(getattr(error, "inner_exception", error))
        if mode != "auto":
            raise StageError(
                "distill.compile", f"torch.compile fails ({why})", 'set it to "off"'
            ) from error
        for network in networks:
            network._compiled_call_impl = None  # noqa: SLF001  (torch has no other way back)
        return f"networks run eager, since torch.compile fails ({why})"

    @staticmethod
    def eager() -> AbstractContextManager[object]:
        """Return the context in which compiled networks run as they were written.

        For passes of other shapes or modes than those of training, each of which would cost a
        compilation.
        """
        if _COMPILER not in sys.modules:
            return contextlib.nullcontext()
        context: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return context

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which networks run."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def select(precision: str = "auto") -> Compute:
    """Return the GPU where there is one, else the CPU, with bf16 where the hardware has it."""
    if torch.cuda.is_available():
        device, has_bf16 = "cuda", torch.cuda.is_bf16_supported(including_emulation=False)
        torch.backends.cudnn.benchmark = True  # shapes repeat: cuDNN tries its kernels once
    else:
        device, has_bf16 = "cpu", bool(_BF16_FLAGS & machine.cpu_flags())
    if precision == "auto":
        precision = "bf16" if has_bf16 else "fp32"
    return Compute(torch.device(device), precision)


@contextlib.contextmanager
def enough_memory(place: str, remedy: str) -> Iterator[None]:
    """Say what to set where the memory of the GPU, or of the machine, is too small.

    Raises:
        StageError: It is, for what happens in this context.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        seen = "of unknown size"
        if torch.cuda.is_available():
            seen = f"{torch.cuda.get_device_properties().total_memory / 2**30:.1f} GiB in all"
        raise StageError(place, f"the GPU's memory is too small ({seen})", remedy) from error
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        seen = f"{machine.usable_memory_bytes() / 2**30:.1f} GiB in all"
        raise StageError(place, f"the machine's memory is too small ({seen})", remedy) from error


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether an error says that the machine's memory, or the GPU's, is too small."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or _CPU_ALLOCATOR in str(error)


def release_memory() -> None:
    """Give back to the GPU what a training held that has ended, for what builds or measures next.

    Other processes and libraries do not get what torch keeps for itself.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):  # type: ignore[no-untyped-call]
        return
    if compiler := sys.modules.get(_COMPILER):
        compiler.reset()  # recorded graphs keep the memory that they use
    gc.collect()
    torch.cuda.empty_cache()


def rng_state() -> dict[str, Tensor]:
    """Return the states of torch's own generators, from which layers such as dropout sample."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_state(states: Mapping[str, Tensor]) -> None:
    """Put torch's own generators back to where `rng_state` was called."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def generator_state(rng: torch.Generator) -> dict[str, Any]:
    """Return where a generator is, and on which kind of device."""
    return {"device": rng.device.type, "state": rng.get_state()}


def restore_generator(rng: torch.Generator, saved: Mapping[str, Any], step: int) -> str | None:
    """Put a generator back to where `generator_state` was called.

    Generators of other kinds of device know no such place: there it is seeded for the steps from
    `step` on. Returns what is to be said of that, None where there is nothing.
    """
    here, there = rng.device.type, saved["device"]
    if here == there:
        rng.set_state(saved["state"])
        return None
    rng.manual_seed((rng.initial_seed() + step) % 2**63)
    return (
        f"the checkpoint is of another device ({there}, now {here}): the run goes on from it with "
        "other random numbers than it would have had there"
    )


def seeded(seed: int, stage: str, device: torch.device) -> torch.Generator:
    """Seed all of torch for one stage and return a generator of its own.

    Two stages with one seed sample different numbers.
    """
    mixed = seed * 1_000_003 + sum(ord(letter) << (8 * (i % 4)) for i, letter in enumerate(stage))
    torch.manual_seed(mixed % 2**63)
    return torch.Generator(device=device).manual_seed(mixed % 2**63)
