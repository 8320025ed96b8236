"""From names in the settings to a backend, a device and a precision that exist here."""

import importlib
from typing import cast

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.requirements import NeedsGpu, NeedsModule, Refused, Requirement
from pipeline.settings import Build
from stages.engines.base import AUTO, BACKENDS, Backend


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
    return "cuda" if machine.gpus() else "cpu"


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
    if build.device == "cuda":
        needs.append(NeedsGpu(setting="build.device"))
    return tuple(needs)


def backend(name: str) -> Backend:
    """Import a backend.

    Raises:
        UnavailableError: It is not in this version.
    """
    module = BACKENDS[name].module
    if module is None:
        raise UnavailableError("build.backend", f"not in this version ({name})", f"use {AUTO}")
    return cast("Backend", importlib.import_module(module))
