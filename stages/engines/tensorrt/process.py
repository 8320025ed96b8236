"""The parent's side of a build: start the child, pass on its progress, and read how it ended."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import onnx

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.stage import StageError
from stages.engines.base import BuildRequest, OnProgress
from stages.engines.tensorrt import worker
from stages.engines.tensorrt.builder import WorkerRequest
from stages.engines.tensorrt.edition import RTX, Edition
from stages.engines.tensorrt.engine_inspector import weights_bytes
from stages.engines.tensorrt.worker import WorkerMessage

_ROOT = Path(__file__).parents[3]
_MAX_CHARACTERS = 300


class Built(TypedDict, total=False):
    """What a finished build adds to the manifest; names as in `EngineManifest`."""

    targets: tuple[str, ...]
    gpu: str
    compute_capability: str
    driver: str
    settings: dict[str, Any]
    weights_bytes: dict[str, int]
    layer_types: dict[str, int]
    layers: str


def build(request: BuildRequest, edition: Edition) -> Built:
    """Make an engine in a process of its own; nothing is left behind when it fails.

    Errors are those of `Backend.build`, and StageError where the process crashed.
    """
    options = request.options
    gpu = machine.gpus()[0] if machine.gpus() and not options.targets else None
    with tempfile.TemporaryDirectory(prefix="madpipe-") as folder:
        engine = Path(folder, "engine").resolve()
        worker_request = WorkerRequest(
            backend=edition.backend,
            onnx=str(request.onnx.resolve()),
            engine=str(engine),
            precision=request.precision,
            targets=options.targets,
            settings=options.tensorrt,
            timing_cache=_timing_cache(request, edition),
        )
        result = _run(worker_request, Path(folder), request.on_progress, edition)
        request.engine.write_bytes(engine.read_bytes())
    return Built(
        targets=options.targets,
        gpu=gpu.name if gpu else "",
        compute_capability=gpu.compute_capability if gpu else "",
        driver=gpu.driver if gpu else "",
        settings=msgspec.to_builtins(options.tensorrt),
        weights_bytes=weights_bytes(onnx.load(str(request.onnx))),
        layer_types=result.layer_types,
        layers=result.layers,
    )


def _run(
    request: WorkerRequest, folder: Path, on_progress: OnProgress, edition: Edition
) -> WorkerMessage:
    """Run the child, pass on its progress, and return its last message."""
    path = folder / "request.json"
    path.write_bytes(msgspec.json.encode(request))
    # The child finds the modules that this process runs from.
    python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with (
        (folder / "messages").open("w+b") as messages,
        subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-P", "-m", worker.__name__, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=os.environ | {"PYTHONPATH": python_path},
            start_new_session=True,  # Ctrl-C is ours to pass on
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                message = msgspec.json.decode(line, type=WorkerMessage)
                if message.kind == "failed":
                    is_unavailable = message.exit_code == UnavailableError.exit_code
                    kind = UnavailableError if is_unavailable else StageError
                    raise kind(*message.error)
                if message.kind == "built":
                    return message
                on_progress(message.percent, 100, "percent")
            process.wait()
        finally:
            process.kill()
            process.wait()
        messages.seek(0)
        lines = messages.read().decode(errors="replace").strip().splitlines()
    code = process.returncode
    try:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        how = f"killed by signal {-code}"
    last = f": {lines[-1].strip()[:_MAX_CHARACTERS]}" if lines else ""
    raise StageError(
        "build",
        f"the process that drives {edition.title} crashed ({how}{last})",
        "try another precision or optimization_level, or use backend onnxruntime",
    )


def _timing_cache(request: BuildRequest, edition: Edition) -> str | None:
    """Return the file of the timing cache: one for each version and GPU, which share nothing."""
    if request.cache is None or edition is RTX or not request.options.tensorrt.timing_cache:
        return None
    key = f"{edition.backend}-{machine.version(edition.backend)}-{machine.fact('gpu')}"
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in key)
    request.cache.mkdir(parents=True, exist_ok=True)
    return str(request.cache / f"{name}.timing")
