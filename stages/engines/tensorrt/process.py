"""The parent's side of a build: start the child, pass on its progress, and read how it ended."""

from typing import Any, TypedDict

import msgspec
import onnx

from pipeline import machine
from pipeline.atomic import scratch_folder, write_bytes
from pipeline.errors import UnavailableError
from pipeline.stage import StageError
from stages.engines import child_process
from stages.engines.base import BuildRequest, OnProgress
from stages.engines.tensorrt import worker
from stages.engines.tensorrt.builder import WorkerRequest
from stages.engines.tensorrt.edition import RTX, Edition
from stages.engines.tensorrt.engine_inspector import weights_bytes
from stages.engines.tensorrt.worker import WorkerMessage


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
    # Beside the engine, in the work of a stage: the next run removes it where this one is killed.
    parent = request.engine.resolve().parent
    with scratch_folder(parent) as folder:
        engine = (folder / "engine").resolve()
        worker_request = WorkerRequest(
            backend=edition.backend,
            onnx=str(request.onnx.resolve()),
            engine=str(engine),
            precision=request.precision,
            targets=options.targets,
            settings=options.tensorrt,
            timing_cache=_timing_cache(request, edition),
        )
        result = _run(worker_request, request.on_progress, edition)
        write_bytes(request.engine, engine.read_bytes())
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


def _run(request: WorkerRequest, on_progress: OnProgress, edition: Edition) -> WorkerMessage:
    """Run the child, pass on its progress, and return its last message."""
    with child_process.started(worker.__name__, request) as child:
        for line in child.lines():
            message = msgspec.json.decode(line, type=WorkerMessage)
            if message.kind == "failed":
                is_unavailable = message.exit_code == UnavailableError.exit_code
                kind = UnavailableError if is_unavailable else StageError
                raise kind(*message.error)
            if message.kind == "built":
                return message
            on_progress(message.percent, 100, "percent")
        raise StageError(
            "build",
            f"the process that drives {edition.title} crashed ({child.how_it_ended()})",
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
