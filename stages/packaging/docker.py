"""What serves a package over HTTP: serve.py, the packages that it needs, and a Dockerfile."""

import json
import sys
from pathlib import Path

from pipeline import machine
from pipeline.gates.build_records import EngineManifest

_RUNTIMES = {
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt-cu13", "cuda-python"),
    "tensorrt-rtx": ("tensorrt-rtx", "cuda-python"),
}
"""Backend -> the distributions that run.py imports; the first has the engine's version."""
_PROVIDERS = {
    "cuda-tensorrt": ("tensorrt-cu13", ">=10.13.2,<11"),
    "cuda-tensorrt-rtx": ("onnxruntime-ep-nv-tensorrt-rtx", ""),
}
"""Device of ONNX Runtime -> what run.py imports beside it, and which where no engine says."""
_UNPINNED = "cuda-python>=13,<14"
_IMAGE_READERS = ("numpy", "pillow")
PORT = 8000


def files(manifest: EngineManifest) -> dict[str, bytes]:
    """Return serve.py, requirements.txt and the Dockerfile of an engine's package."""
    serve = Path(__file__).with_name("serve.py.txt").read_text(encoding="utf-8")
    return {
        "serve.py": serve.encode(),
        "requirements.txt": requirements(manifest).encode(),
        "Dockerfile": dockerfile(manifest).encode(),
    }


def requirements(manifest: EngineManifest) -> str:
    """Return the pinned distributions that run.py and serve.py import.

    Images are read by the versions that are installed here, the engine by the one that built it.
    """
    pins = [f"{name}=={machine.version(name)}" for name in _IMAGE_READERS]
    return "\n".join([*pins, *_runtime(manifest)]) + "\n"


def _runtime(manifest: EngineManifest) -> list[str]:
    version = manifest.backend_version
    if manifest.backend == "onnxruntime":
        on_gpu = manifest.device != "cpu"
        pins = [f"onnxruntime{'-gpu[cuda,cudnn]' if on_gpu else ''}=={version}"]
        if manifest.device in _PROVIDERS:
            package, versions = _PROVIDERS[manifest.device]
            compiled = manifest.ep_context
            pins.append(f"{package}{f'=={compiled.version}' if compiled else versions}")
        return pins
    name, *others = _RUNTIMES[manifest.backend]
    return [f"{name}=={version}", *(_UNPINNED for _ in others)]


def dockerfile(manifest: EngineManifest) -> str:
    """Return the Dockerfile; its base image is an argument, and it runs without a user's rights."""
    python = ".".join(map(str, sys.version_info[:2]))
    needs_gpu = manifest.device != "cpu"
    gpu = (
        "# The host lends its driver: docker run --gpus all, with NVIDIA's container toolkit.\n"
        "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility\n"
    )
    probe = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/healthz', timeout=2)"
    gpus = "--gpus all " * needs_gpu
    return f"""\
# docker build -t student .
# docker run --rm --read-only --tmpfs /tmp {gpus}-p 127.0.0.1:{PORT}:{PORT} student
# Any image with Python {python} and pip will do: docker build --build-arg BASE=...
ARG BASE=python:{python}-slim
FROM ${{BASE}}
{gpu * needs_gpu}ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /student
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir -r requirements.txt
COPY {json.dumps([manifest.engine, "manifest.json", "labels.txt", "run.py", "serve.py", "./"])}
USER 65532:65532
EXPOSE {PORT}
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \\
    CMD ["python", "-c", "{probe}"]
CMD ["python", "serve.py", "--host", "0.0.0.0", "--port", "{PORT}"]
"""
