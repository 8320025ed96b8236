"""Where something ran, for records and reports: never part of a key."""

import os
import platform
import subprocess
from pathlib import Path

from pipeline import __version__, machine

PACKAGES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime-gpu|onnxruntime",
    "tensorrt",
    "tensorrt-rtx",
    "openvino",
    "numpy",
)


def host() -> dict[str, str]:
    """Return what a reader needs to place a figure: the machine, and versions of what matters."""
    facts = {
        "madpipe": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": machine.cpu_model(),
        "cores": str(machine.cpu_count()),
        "memory_gib": _memory_gib(),
    }
    for number, gpu in enumerate(machine.gpus()):
        facts[f"gpu{number}"] = f"{gpu.name} (driver {gpu.driver})"
    return facts | {name.partition("|")[0]: machine.version(name) for name in PACKAGES}


def environment(folder: Path) -> dict[str, str]:
    """Return `host` and the git revision of `folder`."""
    return host() | {"git": _git_revision(folder)}


def _memory_gib() -> str:
    if not hasattr(os, "sysconf"):
        return "unknown"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f}"


def _git_revision(folder: Path) -> str:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(  # noqa: S603  (a fixed command)
            command, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return machine.ABSENT
    return answer.stdout.strip()
