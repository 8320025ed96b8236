"""Whether an engine may be loaded here, by its manifest alone and before native code sees it.

Loading an engine runs what is in it, and a version or GPU that it was not made for is at best
refused with an obscure message, at worst a crash.
"""

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.gates.build_records import EngineManifest
from pipeline.stage import StageError
from stages.engines.base import BACKENDS

_AMPERE = 8.0
_THERE = "madpipe validate --engine DIR --teacher FILE"


def sm(compute_capability: str) -> str:
    """Return an architecture's short name: `sm89` for `8.9`."""
    return f"sm{compute_capability.replace('.', '')}"


def not_run(manifest: EngineManifest) -> str | None:
    """Return why an engine that was built for other GPUs cannot run here, None where it can."""
    here = [sm(each.compute_capability) for each in machine.gpus()]
    if not manifest.targets or (here and here[0] in manifest.targets):
        return None
    found = f"has {', '.join(here)}" if here else "has no NVIDIA GPU"
    targets = ", ".join(manifest.targets)
    return f"the engine was built for {targets} and not run, since this machine {found}"


def check(manifest: EngineManifest) -> None:
    """Make sure that the manifest fits this machine and what is installed.

    Raises:
        StageError: It was built by another version, or for another GPU.
        UnavailableError: The backend or a GPU is not here.
    """
    info = BACKENDS[manifest.backend]
    if info.is_portable:
        return
    if not machine.has_module(info.needs):
        raise UnavailableError(
            "the engine", f"is of a backend that is not installed ({info.needs})", info.install
        )
    installed = machine.version(info.distribution)
    if not _version_fits(manifest, installed):
        raise StageError(
            "the engine",
            f"was built by another version of {manifest.backend} ({manifest.backend_version}, "
            f"installed is {installed})",
            rebuild(manifest),
        )
    if "cuda" not in info.devices or manifest.device != "cuda":
        return
    if reason := not_run(manifest):
        raise UnavailableError("the engine", f"cannot run here ({reason})", _move(manifest))
    if not machine.gpus():
        raise UnavailableError(
            "the engine",
            f"needs an NVIDIA GPU and none is here (built on {manifest.gpu or 'one'})",
            "load it where the GPU is",
        )
    if not manifest.targets:
        _check_gpu(manifest)


def rebuild(manifest: EngineManifest) -> str:
    """Return the command that makes the engine anew."""
    targets = "".join(f" --target {each}" for each in manifest.targets)
    return (
        f"rebuild it with: madpipe build --onnx FILE --backend {manifest.backend} "
        f"--precision {manifest.precision}{targets}"
    )


def _move(manifest: EngineManifest) -> str:
    here = sm(machine.gpus()[0].compute_capability) if machine.gpus() else None
    if here in BACKENDS[manifest.backend].architectures:
        return rebuild(manifest) + f" --target {here}"
    return f"load it where such a GPU is: {_THERE}"


def _version_fits(manifest: EngineManifest, installed: str) -> bool:
    if manifest.settings.get("version_compatible"):
        return _numbers(installed) >= _numbers(manifest.backend_version)
    return installed == manifest.backend_version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _check_gpu(manifest: EngineManifest) -> None:
    here = machine.gpus()[0]
    match manifest.settings.get("hardware_compatibility", "none"):
        case "ampere-plus":
            fits = float(here.compute_capability) >= _AMPERE
        case "same-compute-capability":
            fits = here.compute_capability == manifest.compute_capability
        case _:
            fits = (here.name, here.compute_capability) == (
                manifest.gpu,
                manifest.compute_capability,
            )
    if not fits:
        raise StageError(
            "the engine",
            f"was built for another GPU ({manifest.gpu}, {manifest.compute_capability}; here is "
            f"{here.name}, {here.compute_capability})",
            rebuild(manifest),
        )
