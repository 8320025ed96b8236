"""Whether an engine may be loaded here, by its manifest alone and before native code sees it.

Loading an engine runs what is in it, and a version or GPU that it was not made for is at best
refused with an obscure message, at worst a crash.
"""

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.gates.build_records import EngineManifest, EpContext
from pipeline.stage import StageError
from stages.engines.base import BACKENDS
from stages.engines.providers import PROVIDERS, check_installed, hardware

_AMPERE = 8.0


def sm(compute_capability: str) -> str:
    """Return an architecture's short name: `sm89` for `8.9`."""
    return f"sm{compute_capability.replace('.', '')}"


def why_not_run(manifest: EngineManifest) -> str | None:
    """Return why an engine that was built for other GPUs cannot run here, None where it can."""
    here = [sm(gpu.compute_capability) for gpu in machine.gpus()]
    if not manifest.targets or (here and here[0] in manifest.targets):
        return None
    gpus = f"has {', '.join(here)}" if here else "has no NVIDIA GPU"
    targets = ", ".join(manifest.targets)
    return f"the engine was built for {targets} and not run, since this machine {gpus}"


def check(manifest: EngineManifest) -> None:
    """Make sure that the manifest fits this machine and what is installed.

    Raises:
        StageError: It was built by another version, or for another GPU.
        UnavailableError: The backend or a GPU is not here.
    """
    info = BACKENDS[manifest.backend]
    if info.is_portable and manifest.ep_context is None:
        return
    if not machine.has_module(info.needs):
        raise UnavailableError(
            "the engine", f"is of a backend that is not installed ({info.needs})", info.install
        )
    installed = machine.version(info.distribution)
    if manifest.settings.get("version_compatible"):
        fits = _numbers(installed) >= _numbers(manifest.backend_version)
    else:
        fits = installed == manifest.backend_version
    if not fits:
        raise StageError(
            "the engine",
            f"was built by another version of {manifest.backend} ({manifest.backend_version}, "
            f"installed is {installed})",
            rebuild_command(manifest),
        )
    if manifest.ep_context is not None:
        _check_provider(manifest, manifest.ep_context)
    if "cuda" in info.devices and hardware(manifest.device) == "cuda":
        _check_gpu(manifest)


def _check_provider(manifest: EngineManifest, context: EpContext) -> None:
    """Make sure that the execution provider that compiled an engine is here, in its version."""
    provider = PROVIDERS.get(manifest.device)
    if provider is None or provider.name != context.provider:
        raise StageError(
            "the engine",
            f"is compiled for another execution provider than its device ({context.provider}, "
            f"{manifest.device})",
            rebuild_command(manifest),
        )
    check_installed(manifest.device)
    installed = machine.version(provider.distribution)
    if installed != context.version:
        raise StageError(
            "the engine",
            f"was compiled by another version of {provider.title} ({context.version}, installed "
            f"is {installed})",
            rebuild_command(manifest),
        )


def _check_gpu(manifest: EngineManifest) -> None:
    gpu = machine.gpus()[0] if machine.gpus() else None
    if reason := why_not_run(manifest):
        remedy = "load it where such a GPU is: madpipe validate --engine DIR --teacher FILE"
        here = sm(gpu.compute_capability) if gpu else ""
        if here in BACKENDS[manifest.backend].architectures:
            remedy = f"{rebuild_command(manifest)} --target {here}"
        raise UnavailableError("the engine", f"cannot run here ({reason})", remedy)
    if gpu is None:
        raise UnavailableError(
            "the engine",
            f"needs an NVIDIA GPU and none is here (built on {manifest.gpu or 'one'})",
            "load it where the GPU is",
        )
    if manifest.targets:
        return
    match manifest.settings.get("hardware_compatibility", "none"):
        case "ampere-plus":
            fits = float(gpu.compute_capability) >= _AMPERE
        case "same-compute-capability":
            fits = gpu.compute_capability == manifest.compute_capability
        case _:
            built_on = (manifest.gpu, manifest.compute_capability)
            fits = (gpu.name, gpu.compute_capability) == built_on
    if not fits:
        raise StageError(
            "the engine",
            f"was built for another GPU ({manifest.gpu}, {manifest.compute_capability}; here is "
            f"{gpu.name}, {gpu.compute_capability})",
            rebuild_command(manifest),
        )


def rebuild_command(manifest: EngineManifest) -> str:
    """Return the command that makes the engine anew."""
    targets = "".join(f" --target {target}" for target in manifest.targets)
    if manifest.ep_context is not None:
        targets = f" --device {manifest.device} --set build.ep_context=true"
    return (
        f"rebuild it with: madpipe build --onnx FILE --backend {manifest.backend} "
        f"--precision {manifest.precision}{targets}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".") if number.isdigit())
