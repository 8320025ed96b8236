"""Versions that do not fit each other, reported before they fail in the middle of a run.

What packages declare of each other is read from their metadata; what they load at run time and
do not declare is read from their libraries.
"""

import ctypes
import itertools
import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pipeline import machine
from stages.engines.base import BACKENDS
from stages.engines.providers import PROVIDERS

PACKAGES = (
    "torch", "torchvision", "torch-tensorrt", "tensorrt", "tensorrt-cu13", "tensorrt-cu12",
    "tensorrt-rtx", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "openvino",
    "nvidia-modelopt", "onnxruntime-ep-nv-tensorrt-rtx",
)  # fmt: skip
"""Packages whose own requirements are checked."""

LEAST_DRIVER = {13: 580, 12: 525, 11: 450}
"""CUDA major -> the oldest driver branch that runs it (CUDA's table of minor-version
compatibility)."""

_SAME_FILES = (("onnxruntime", "onnxruntime-gpu"), ("tensorrt-cu12", "tensorrt-cu13"))
_TENSORRT = BACKENDS["tensorrt"].distribution
_LIBRARY = re.compile(rb"\0(lib[\w+-]+\.so[.\d]*)(?=\0)")

Version = Callable[[str], str]


class Conflict(NamedTuple):
    """Two things that do not fit, and what to do."""

    detail: str
    fix: str


def conflicts(version: Version = machine.version) -> Iterator[Conflict]:
    """Yield everything installed here that does not fit what else is installed."""
    yield from declared_conflicts(version)
    for one, other in _SAME_FILES:
        if machine.ABSENT not in (version(one), version(other)):
            yield Conflict(
                f"{one} and {other} are both installed and overwrite each other",
                f"pip uninstall {one} {other}, then install one of them",
            )
    for stem in ("tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"):
        bindings, libraries = version(f"{stem}-bindings"), version(f"{stem}-libs")
        if bindings not in (machine.ABSENT, libraries):
            yield Conflict(
                f"{stem}-bindings is {bindings} and {stem}-libs {libraries}",
                f"pip install {stem}-libs=={bindings}, or NVIDIA's own packages",
            )
    onnxruntime = find_spec("onnxruntime")
    if onnxruntime is None or onnxruntime.origin is None:
        return
    folder = Path(onnxruntime.origin).parent / "capi"
    if version(_TENSORRT) != machine.ABSENT:
        linked = linked_libraries(folder / "libonnxruntime_providers_tensorrt.so")
        yield from tensorrt_of_onnxruntime(linked, version)


def provider_conflict(device: str, version: Version = machine.version) -> Conflict | None:
    """Return what an execution provider that compiles does not go with, None where all fits.

    Its package does not declare what it needs, so that an installer brings the wrong one.
    """
    provider = PROVIDERS[device]
    if provider.is_plugin:
        if machine.ABSENT not in (version("onnxruntime"), version("onnxruntime-gpu")):
            return Conflict(
                "NVIDIA has its plugin installed with onnxruntime, and beside onnxruntime-gpu the "
                "two overwrite each other",
                "pip uninstall onnxruntime onnxruntime-gpu, then install one of them",
            )
        return None
    onnxruntime = find_spec("onnxruntime")
    if onnxruntime is None or onnxruntime.origin is None:
        return None
    library = Path(onnxruntime.origin).parent / "capi" / "libonnxruntime_providers_tensorrt.so"
    linked = linked_libraries(library)
    if not linked:
        return Conflict(
            "this ONNX Runtime is built without it",
            f"pip uninstall onnxruntime, then {BACKENDS['onnxruntime'].install}",
        )
    conflict = next(tensorrt_of_onnxruntime(linked, version), None)
    return conflict and Conflict(conflict.detail, "pip install 'madpipe[tensorrt10]'")


def declared_conflicts(version: Version) -> Iterator[Conflict]:
    """Yield each package whose own requirements are not met by what is installed."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415

    for name in PACKAGES:
        if version(name) == machine.ABSENT:
            continue
        for line in metadata.requires(name) or ():
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                continue
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            installed = version(wanted.name)
            if installed != machine.ABSENT and not wanted.specifier.contains(
                installed, prereleases=True
            ):
                yield Conflict(
                    f"{name} {version(name)} wants {wanted.name}{wanted.specifier} ({installed})",
                    f"pip install '{wanted.name}{wanted.specifier}', or remove {name}",
                )


def driver_conflict(cuda: str | None, driver: str) -> Conflict | None:
    """Return that a driver is too old for the CUDA that torch was built for, None where it is not.

    Args:
        cuda: Such as 13.2; None: torch was built without.
        driver: The driver's version, such as 580.95.05.
    """
    if cuda is None or not driver[:1].isdigit():
        return None
    major = int(cuda.partition(".")[0])
    least = LEAST_DRIVER.get(major)
    if least is None or int(driver.partition(".")[0]) >= least:
        return None
    return Conflict(
        f"torch is built for CUDA {cuda}, which needs a driver of branch {least} ({driver})",
        f"install driver {least} or newer, or a torch built for an older CUDA",
    )


def tensorrt_of_onnxruntime(linked: Sequence[str], version: Version) -> Iterator[Conflict]:
    """Yield that ONNX Runtime's TensorRT provider links another TensorRT than is installed."""
    installed = version(_TENSORRT)
    library = next((name for name in linked if name.startswith("libnvinfer.so.")), "")
    fitting = f"libnvinfer.so.{installed.partition('.')[0]}"
    if installed != machine.ABSENT and library not in ("", fitting):
        yield Conflict(
            f"ONNX Runtime's TensorrtExecutionProvider links {library} and cannot load "
            f"(tensorrt {installed})",
            'none needed: build.backend = "tensorrt" drives TensorRT itself',
        )


def linked_libraries(path: Path) -> tuple[str, ...]:
    """Return the libraries that a library asks for by name, empty where it cannot be read.

    Linkers put their names together at the head of its strings, its own name behind them.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            names = [name.decode() for name in _LIBRARY.findall(content)]
    except (OSError, ValueError):
        return ()
    return tuple(itertools.takewhile(lambda name: name != path.name, names))


def other_cuda_than_torch(linked: Sequence[str], cuda: str | None) -> Conflict | None:
    """Return that ONNX Runtime is built for another CUDA than torch, None where it is not.

    Args:
        linked: The libraries that its CUDA provider asks for.
        cuda: That torch was built for, such as 12.8; None: torch was built without.
    """
    ours = next((name for name in linked if name.startswith("libcudart.so.")), "")
    major, theirs = ours.rpartition(".")[2], (cuda or "").partition(".")[0]
    if theirs in ("", major) or not major:
        return None
    bound = "<1.27" if theirs == "12" else ""  # 1.27 and later are built for CUDA 13
    return Conflict(
        f"ONNX Runtime is built for CUDA {major} and torch for {cuda}",
        f"pip install 'onnxruntime-gpu[cuda,cudnn]{bound}', of torch's CUDA {theirs}",
    )


def missing_libraries(path: Path) -> list[str]:
    """Return those of the libraries that a library asks for that do not load here."""
    missing = []
    for name in linked_libraries(path):
        try:
            ctypes.CDLL(name)
        except OSError:
            missing.append(name)
    return missing
