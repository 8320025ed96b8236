"""From names in the settings to a backend, a device and a precision that exist here."""

import importlib
from collections.abc import Iterator
from typing import NamedTuple, cast

from pipeline import machine
from pipeline.errors import did_you_mean
from pipeline.requirements import NeedsGpu, NeedsModule, Requirement, Unsupported
from pipeline.settings import Build, TensorRT
from stages.engines.base import AUTO, BACKENDS, Backend
from stages.engines.compatibility import sm
from stages.engines.providers import PROVIDERS, hardware

_OTHER_GPUS = {"sm70", "sm72", "sm87", "sm90", "sm100", "sm101", "sm103", "sm110"}
"""Architectures of NVIDIA's that no backend builds for ahead of time."""
TRAINED = ("int8", "int4")
"""Precisions whose weights may be trained on after rounding."""
_SMALLER_ONLY = ("int4",)
"""Precisions that save bytes and compute in another one, so that none is ever the fastest."""


class Candidate(NamedTuple):
    """An engine that could be built."""

    backend: str
    precision: str


def backend_name(build: Build) -> str:
    """Return the backend's name; `auto` is the first that is here and has the precision."""
    if build.backend != "auto":
        return build.backend
    if build.precision == "auto":
        return AUTO
    able = (
        name
        for name in backends_here(device(build))
        if unsupported(name, build.precision, build) is None
    )
    return next(able, AUTO)


def precision(build: Build) -> str:
    """Return the precision with `auto` resolved to the backend's default."""
    info = BACKENDS[backend_name(build)]
    return info.precisions[0] if build.precision == "auto" else build.precision


def backends_here(where: str) -> tuple[str, ...]:
    """Return the backends whose package is installed and that run engines on a device."""
    return tuple(
        name
        for name, info in BACKENDS.items()
        if where in info.devices
        and machine.has_module(info.needs)
        and not (hardware(where) == "cuda" and gpu_fault(name))
    )


def gpu_fault(name: str) -> tuple[str, str] | None:
    """Return what is wrong with the GPU here for a backend that knows its GPUs, and what to do."""
    known, gpus = BACKENDS[name].architectures, machine.gpus()
    if not known:
        return None
    if not gpus:
        return (
            "needs a GPU to build for, and none is here (build.targets is empty)",
            f"name some of {', '.join(known)} as targets, or build where the GPU is",
        )
    here = sm(gpus[0].compute_capability)
    if here in known:
        return None
    wrong = f"runs on {', '.join(known)}, not on this GPU ({gpus[0].name}, {here})"
    return wrong, 'use backend "tensorrt" or "onnxruntime"'


def is_chosen_by_measuring(build: Build) -> bool:
    """Return whether candidates are to be built and measured: nothing is for another machine."""
    return build.precision == "auto" and not build.targets


def may_train_int8(build: Build) -> bool:
    """Return whether an int8 or int4 engine may be built whose weights are trained."""
    is_tried = build.precision in TRAINED or is_chosen_by_measuring(build)
    return is_tried and build.int8 != "rounded"


def candidates(build: Build, where: str | None = None) -> tuple[Candidate, ...]:
    """Return what `precision = "auto"` builds and measures on a device, the most exact first."""
    where = where or device(build)
    names = backends_here(where) if build.backend == "auto" else (build.backend,)
    all_candidates = [
        Candidate(name, precision)
        for name in names
        for precision in BACKENDS[name].precisions
        if precision not in _SMALLER_ONLY
        if where in BACKENDS[name].devices and _unsupported_on(where, name, precision) is None
    ]
    return tuple(sorted(all_candidates, key=lambda candidate: candidate.precision != "fp32"))


def unsupported(name: str, precision: str, build: Build) -> Unsupported | None:
    """Return why a backend does not have a precision here, None where it has."""
    info = BACKENDS[name]
    if precision not in info.precisions:
        others = [other for other, row in BACKENDS.items() if precision in row.precisions]
        wrong = f"{name} does not build it ({precision})"
        return _no_precision(
            wrong, f"{', '.join(info.precisions)}, or backend {' or '.join(others)}"
        )
    for target in build.targets:
        missing = info.unsupported_on.get(target, ())
        if precision in missing:
            able = ", ".join(other for other in info.precisions if other not in missing)
            wrong = f"GPUs of {target} cannot compute in it ({precision})"
            return _no_precision(wrong, f"{able}, or leave the target out")
    return None if build.targets else _unsupported_on(device(build), name, precision)


def _unsupported_on(where: str, name: str, precision: str) -> Unsupported | None:
    """Return why a backend does not have a precision on a device of this machine."""
    info = BACKENDS[name]
    others = ", ".join(other for other in info.precisions if other != precision)
    only = info.only_on.get(precision, hardware(where))
    if only != hardware(where):
        wrong = f"{name} is fast in it on {only} alone, not on {where} ({precision})"
        return _no_precision(wrong, f'{others} or device "{only}"')
    for gpu in machine.gpus()[:1] if hardware(where) == "cuda" else ():
        missing = info.unsupported_on.get(sm(gpu.compute_capability), ())
        if precision in missing:
            able = ", ".join(other for other in info.precisions if other not in missing)
            return _no_precision(f"this GPU cannot compute in it ({precision}, {gpu.name})", able)
    features = info.needs_feature.get(precision)
    if features and not set(features) & machine.cpu_features():
        needs = " or ".join(features)
        wrong = f"this processor cannot compute in it ({precision} needs {needs})"
        return _no_precision(wrong, others)
    return None


def _no_precision(wrong: str, instead: str) -> Unsupported:
    return Unsupported(setting="build.precision", wrong=wrong, remedy=f"use {instead}")


def engine_file(build: Build) -> str:
    """Return the name of the engine's file, the same for all candidates."""
    names = {BACKENDS[backend_name(build)].engine_file}
    if is_chosen_by_measuring(build):
        names = {BACKENDS[entry.backend].engine_file for entry in candidates(build)} or names
    return names.pop() if len(names) == 1 else "engine"


def backends_used(build: Build) -> tuple[str, ...]:
    """Return the backends that may make the engine."""
    if is_chosen_by_measuring(build) and build.backend == "auto":
        return tuple(BACKENDS)
    return (backend_name(build),)


def device(build: Build) -> str:
    """Return the device that is named; `auto` takes a GPU where the driver reports one."""
    if build.device != "auto":
        return build.device
    if build.backend != "auto" and len(BACKENDS[build.backend].devices) == 1:
        return BACKENDS[build.backend].devices[0]
    return "cuda" if machine.gpus() else "cpu"


def unsupported_target(build: Build) -> Unsupported | None:
    """Return why a target architecture cannot be built for, None where all can."""
    name = backend_name(build)
    known = BACKENDS[name].architectures
    if build.targets and not known:
        others = ", ".join(other for other, info in BACKENDS.items() if info.architectures)
        return Unsupported(
            setting="build.targets",
            wrong=f"{name} builds only for the machine it is on",
            remedy=f"use {others}",
        )
    for target in build.targets:
        if target not in known:
            # One that exists is no typing error, and its nearest neighbour is another GPU.
            guess = "" if target in _OTHER_GPUS else did_you_mean(target.lower(), known)
            return Unsupported(
                setting="build.targets",
                wrong=f"{name} knows no such architecture{guess} ({target})",
                remedy=f"name some of {', '.join(known)}, or build where the GPU is, by tensorrt",
            )
    return None


def requirements(build: Build) -> tuple[Requirement, ...]:
    """Return what the machine must have for these settings; checked before anything runs."""
    name = backend_name(build)
    info = BACKENDS[name]
    needs: list[Requirement] = [
        NeedsModule(setting="build.backend", module=info.needs, install=info.install)
    ]

    def refuse(setting: str, wrong: str, remedy: str) -> None:
        needs.append(Unsupported(setting=setting, wrong=f"{name} {wrong}", remedy=remedy))

    if build.precision != "auto" and (lack := unsupported(name, build.precision, build)):
        needs.append(lack)
    has_gpu = bool(machine.gpus())
    if build.device not in ("auto", *info.devices):
        refuse(
            "build.device",
            f"has no engines for it ({build.device})",
            f"use {', '.join(info.devices)}",
        )
    elif build.targets:
        pass  # built ahead of time, for GPUs that need not be here
    elif fault := gpu_fault(name):
        refuse("build.backend", *fault)
    elif build.device.startswith("cuda") or info.devices == ("cuda",):
        setting = "build.device" if build.device.startswith("cuda") else "build.backend"
        needs.append(NeedsGpu(setting=setting))
    for setting in info.unsupported_settings:
        value = getattr(build.tensorrt, setting)
        if value != getattr(TensorRT(), setting):
            refuse(
                f"build.tensorrt.{setting}",
                f"has no such thing ({value})",
                "leave it at its default, or use backend tensorrt",
            )
    if info.architectures and build.tensorrt.weights != "kept" and not has_gpu:
        refuse(
            "build.tensorrt.weights",
            f"makes such engines only where a GPU is ({build.tensorrt.weights})",
            'set it to "kept", or build where the GPU is',
        )
    return (*needs, *_of_provider(build))


def _of_provider(build: Build) -> Iterator[Requirement]:
    """Yield the package of the execution provider that a device names, where it needs one."""
    provider = PROVIDERS.get(build.device)
    if provider is not None and provider.install:
        yield NeedsModule(setting="build.device", module=provider.module, install=provider.install)


def backend(name: str) -> Backend:
    """Import a backend's module; what it drives is imported when it is used."""
    return cast("Backend", importlib.import_module(BACKENDS[name].module))
