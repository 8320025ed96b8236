"""From names in the settings to a backend, a device and a precision that exist here."""

import importlib
from collections.abc import Iterator
from typing import NamedTuple, cast

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.nearest import nearest
from pipeline.requirements import NeedsGpu, NeedsModule, Refused, Requirement
from pipeline.settings import Build, TensorRT
from stages.engines.base import AUTO, BACKENDS, Backend, BackendInfo


class WrongTarget(NamedTuple):
    """A target architecture that cannot be built for: what is wrong, what to do."""

    wrong: str
    remedy: str


def backend_name(build: Build) -> str:
    """Return the backend's name with `auto` resolved."""
    return AUTO if build.backend == "auto" else build.backend


def precision(build: Build) -> str:
    """Return the precision with `auto` resolved to the backend's default."""
    info = BACKENDS[backend_name(build)]
    return info.precisions[0] if build.precision == "auto" else build.precision


def device(build: Build) -> str:
    """Return cpu or cuda; `auto` takes a GPU where the driver reports one."""
    if build.device != "auto":
        return build.device
    devices = BACKENDS[backend_name(build)].devices
    if len(devices) == 1:
        return devices[0]
    return "cuda" if machine.gpus() else "cpu"


def wrong_target(build: Build) -> WrongTarget | None:
    """Return what is wrong with the target architectures, None where they can be built for."""
    name = backend_name(build)
    known = BACKENDS[name].architectures
    if build.targets and not known:
        others = ", ".join(each for each, info in BACKENDS.items() if info.architectures)
        return WrongTarget(f"{name} builds only for the machine it is on", f"use {others}")
    for target in build.targets:
        if target not in known:
            guess = nearest(target, known)
            return WrongTarget(
                f"{name} knows no such architecture{guess} ({target})",
                f"name some of {', '.join(known)}",
            )
    return None


def requirements(build: Build) -> tuple[Requirement, ...]:
    """Return what the machine must have for these settings; checked before anything runs."""
    name = backend_name(build)
    info = BACKENDS[name]
    needs: list[Requirement] = []
    if info.module is None:
        others = ", ".join(each for each, known in BACKENDS.items() if known.module)
        needs.append(
            Refused(
                setting="build.backend",
                wrong=f"this version builds no engines for it yet ({name})",
                remedy=f"use {others}",
            )
        )
    else:
        needs.append(NeedsModule(setting="build.backend", module=info.needs, install=info.install))
    if build.precision not in ("auto", *info.precisions):
        needs.append(
            Refused(
                setting="build.precision",
                wrong=f"{name} does not build it ({build.precision})",
                remedy=f"use {', '.join(info.precisions)}",
            )
        )
    needs += _for_device(build, name, info)
    needs += _for_edition(build.tensorrt, name, info)
    return tuple(needs)


def _for_device(build: Build, name: str, info: BackendInfo) -> Iterator[Requirement]:
    if build.device not in ("auto", *info.devices):
        yield Refused(
            setting="build.device",
            wrong=f"{name} has no engines for it ({build.device})",
            remedy=f"use {', '.join(info.devices)}",
        )
    elif build.targets:
        return  # built ahead of time, for GPUs that need not be here
    elif info.architectures and not machine.gpus():
        yield Refused(
            setting="build.backend",
            wrong=f"{name} needs a GPU to build for, and none is here (build.targets is empty)",
            remedy=f"name some of {', '.join(info.architectures)} as targets, or build where "
            "the GPU is",
        )
    elif build.device == "cuda" or info.devices == ("cuda",):
        yield NeedsGpu(setting="build.device" if build.device == "cuda" else "build.backend")


def _for_edition(asked: TensorRT, name: str, info: BackendInfo) -> Iterator[Requirement]:
    for setting in info.lacks:
        value = getattr(asked, setting)
        if value != getattr(TensorRT(), setting):
            yield Refused(
                setting=f"build.tensorrt.{setting}",
                wrong=f"{name} has no such thing ({value})",
                remedy="leave it at its default, or use backend tensorrt",
            )
    if info.architectures and asked.weights != "kept" and not machine.gpus():
        yield Refused(
            setting="build.tensorrt.weights",
            wrong=f"{name} makes such engines only where a GPU is ({asked.weights})",
            remedy='set it to "kept", or build where the GPU is',
        )


def backend(name: str) -> Backend:
    """Import a backend.

    Raises:
        UnavailableError: It is not in this version.
    """
    module = BACKENDS[name].module
    if module is None:
        raise UnavailableError("build.backend", f"not in this version ({name})", f"use {AUTO}")
    return cast("Backend", importlib.import_module(module))
