"""Facts of this machine, read without any heavy library: /proc, nvidia-smi, package metadata."""

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

_SMI_TIMEOUT_S = 20.0
ABSENT = "absent"


class Gpu(NamedTuple):
    """One NVIDIA GPU as its driver names it."""

    name: str
    compute_capability: str
    driver: str


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that the driver reports; empty where there is no driver."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ()
    query = [smi, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(  # noqa: S603  (a fixed command, its path from PATH)
            query, capture_output=True, text=True, check=True, timeout=_SMI_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (line.split(", ") for line in answer.stdout.splitlines())
    return tuple(Gpu(*row) for row in rows if len(row) == len(Gpu._fields))


@functools.cache
def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


_FEATURES = frozenset(
    ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
     "asimddp", "i8mm", "bf16")
)  # fmt: skip


@functools.cache
def cpu_features() -> frozenset[str]:
    """Return the processor's abilities that decide how fast and how right a precision is."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return _FEATURES & set(line.partition(":")[2].split())
    return frozenset()


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fact(name: str) -> str:
    """Return a fact by its name in `Stage.facts`: `cpu`, `cpu_features`, `gpu`, `driver`.

    Raises:
        KeyError: There is no such fact.
    """
    first = gpus()[0] if gpus() else Gpu(ABSENT, ABSENT, ABSENT)
    if name == "gpu":
        return f"{first.name} ({first.compute_capability})"
    if name == "driver":
        return first.driver
    if name == "cpu":
        return f"{cpu_model()} x{cpu_count()}"
    if name == "cpu_features":
        return " ".join(sorted(cpu_features())) or ABSENT
    raise KeyError(name)


def version(distribution: str) -> str:
    """Return the version of an installed distribution, `absent` without it.

    Alternatives are separated by `|`: the first that is installed counts.
    """
    for name in distribution.split("|"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ABSENT


def has_module(name: str) -> bool:
    """Tell whether a top-level module can be imported, without importing it."""
    return find_spec(name) is not None
