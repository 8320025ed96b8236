"""Facts of this machine, read without any heavy library: processor, GPUs, installed versions.

`fact` gives those that may be part of a key; `host` and `environment` say where something ran,
for records and reports, and are never part of one.
"""

import contextlib
import ctypes
import functools
import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import __version__, git_revision
from pipeline.texts import whole_number

ABSENT = "absent"
PACKAGES = (
    "torch", "torchvision", "onnx", "onnxscript", "onnxruntime-gpu|onnxruntime",
    "tensorrt|tensorrt-cu13|tensorrt-cu12", "tensorrt-rtx|tensorrt-rtx-cu13|tensorrt-rtx-cu12",
    "openvino", "numpy",
)  # fmt: skip
"""Distributions whose versions place a figure, as `version` takes them."""

_OWN_STATUS = Path("/proc/self/status")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_CPU_INFO = Path("/proc/cpuinfo")
_PRECISION_FLAGS = frozenset(
    ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8",
     "asimddp", "i8mm", "bf16")
)  # fmt: skip
_NVML_LIBRARY = "libnvidia-ml.so.1"


class Gpu(NamedTuple):
    """One NVIDIA GPU as its driver names it."""

    name: str
    compute_capability: str
    """Major and minor version, such as `8.9`."""
    driver: str
    """Version of the driver."""


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that CUDA shows this process, in its order; empty without a driver.

    Of several GPUs CUDA would count the fastest first, the driver goes by their slots: CUDA is
    told to do the same, unless CUDA_DEVICE_ORDER is set.
    """
    if sys.platform == "linux":
        # Importing pynvml takes 30 ms, which no command on a machine without a driver need pay.
        try:
            ctypes.CDLL(_NVML_LIBRARY)
        except OSError:
            return ()
    import pynvml  # noqa: PLC0415  (see above)

    try:
        pynvml.nvmlInit()
        driver = pynvml.nvmlSystemGetDriverVersion()
        devices = []
        for handle in _visible(pynvml):
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            devices.append(Gpu(pynvml.nvmlDeviceGetName(handle), f"{major}.{minor}", driver))
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ()
    return tuple(devices)


def _visible(nvml: Any) -> list[Any]:
    """Return the driver's handles of the GPUs that CUDA_VISIBLE_DEVICES names, or of all."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    if len(handles) > 1:
        os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return handles
    visible = []
    for name in map(str.strip, names.split(",")):
        if name.startswith("MIG-"):
            part = nvml.nvmlDeviceGetHandleByUUID(name)
            visible.append(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part))
        elif name.startswith("GPU-"):
            visible += [h for h in handles if nvml.nvmlDeviceGetUUID(h).startswith(name)]
        elif (number := whole_number(name)) is not None and number < len(handles):
            visible.append(handles[number])
        else:
            break  # as CUDA does: nothing after a name that is none
    return visible


@functools.cache
def _cpu_info() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return all abilities that the processor claims, by Linux's names; empty elsewhere."""
    info = _cpu_info()
    return frozenset(info.get("flags", info.get("Features", "")).split())


def cpu_features() -> frozenset[str]:
    """Return the processor's abilities that decide how fast and how right a precision is."""
    return _PRECISION_FLAGS & cpu_flags()


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Return the memory of this machine."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import psutil  # noqa: PLC0415  (25 ms, which every run would pay for its record)

    return int(psutil.virtual_memory().total)


def usable_memory_bytes() -> int:
    """Return the memory that this process may hold: the machine's, or less in a container.

    The least limit counts among those of its control group and the groups around it (Linux,
    cgroup v1 and v2).
    """
    limits = [memory_bytes()]
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root = _GROUPS / "memory" if controllers else _GROUPS
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            group = Path(path.lstrip("/"))
            # Inside a container the path may be the host's; what is there is then the root alone.
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # v2 writes "max" for none
                    limits.append(int((root / folder / name).read_text(encoding="utf-8")))
    return min(limits)


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process held, None where the system does not say."""
    # psutil has no peak on Linux, and getrusage's includes that of the process before an exec.
    try:
        lines = _OWN_STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def fact(name: str) -> str:
    """Return a fact by its name in `Stage.facts`: `cpu`, `cpu_features`, `gpu`, `driver`.

    Raises:
        KeyError: There is no such fact.
    """
    gpu = gpus()[0] if gpus() else Gpu(ABSENT, ABSENT, ABSENT)
    return {
        "cpu": f"{cpu_model()} x{cpu_count()}",
        "cpu_features": " ".join(sorted(cpu_features())) or ABSENT,
        "gpu": f"{gpu.name} ({gpu.compute_capability})",
        "driver": gpu.driver,
    }[name]


def installed(distribution: str) -> tuple[str, str]:
    """Return the name and version of an installed distribution, `absent` without it.

    Alternatives are separated by `|`: the first that is installed counts.
    """
    names = distribution.split("|")
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    return names[0], ABSENT


def version(distribution: str) -> str:
    """Return the version alone of what `installed` finds."""
    return installed(distribution)[1]


def has_module(name: str) -> bool:
    """Return whether a top-level module can be imported, without importing it."""
    return find_spec(name) is not None


def host() -> dict[str, str]:
    """Return what a reader needs to place a figure: the machine, and versions of what matters."""
    facts = {
        "madpipe": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cores": str(cpu_count()),
        "memory_gib": f"{memory_bytes() / 2**30:.1f}",
    }
    for number, gpu in enumerate(gpus()):
        facts[f"gpu{number}"] = f"{gpu.name} (driver {gpu.driver})"
    return facts | dict(map(installed, PACKAGES))


def environment(folder: Path) -> dict[str, str]:
    """Return `host` and the git revision of `folder`, `absent` where it has none."""
    return host() | {"git": git_revision.revision(folder) or ABSENT}
