"""The parent's side of a build: start the child, pass on its progress, and tell how it ended."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import onnx

from pipeline import machine
from pipeline.stage import StageError
from stages.engines.base import Order
from stages.engines.tensorrt import graph, worker
from stages.engines.tensorrt.edition import RTX, Edition
from stages.engines.tensorrt.messages import Built, Line, Request, as_error

_ROOT = Path(__file__).parents[3]
_SHOWN_CHARACTERS = 300


def build(order: Order, edition: Edition) -> Built:
    """Make an engine in a process of its own; nothing is left behind when it fails.

    Raises:
        StageError: TensorRT refuses the graph, or its process crashed.
        UnavailableError: The edition or the GPU is not here.
    """
    asked = order.options.tensorrt
    targets = order.options.targets
    gpu = machine.gpus()[0] if machine.gpus() and not targets else None
    with tempfile.TemporaryDirectory(prefix="madpipe-") as folder:
        request = Request(
            backend=edition.backend,
            onnx=str(order.onnx.resolve()),
            engine=str(Path(folder, "engine").resolve()),
            precision=order.precision,
            targets=targets,
            settings=asked,
            timing_cache=_timing_cache(order, edition),
        )
        told = _run(request, Path(folder), order, edition)
        order.engine.write_bytes(Path(request.engine).read_bytes())
    return Built(
        targets=targets,
        gpu=gpu.name if gpu else "",
        compute_capability=gpu.compute_capability if gpu else "",
        driver=gpu.driver if gpu else "",
        settings=msgspec.to_builtins(asked),
        weights_bytes=graph.weights_bytes(onnx.load(str(order.onnx))),
        layer_types=told.layer_types,
        layers=told.layers,
    )


def _run(request: Request, folder: Path, order: Order, edition: Edition) -> Line:
    path = folder / "request.json"
    path.write_bytes(msgspec.json.encode(request))
    with (
        (folder / "messages").open("w+b") as messages,
        subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-P", "-m", worker.__name__, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is ours to pass on
        ) as process,
    ):
        try:
            last = _listen(process, order)
        finally:
            process.kill()
            process.wait()
        if last is not None:
            return last
        messages.seek(0)
        raise _crash(process.returncode, messages.read().decode(errors="replace"), edition)


def _listen(process: "subprocess.Popen[bytes]", order: Order) -> Line | None:
    """Pass on progress until the child ends; return its last word, None without one."""
    assert process.stdout is not None
    for content in process.stdout:
        line = msgspec.json.decode(content, type=Line)
        if line.kind == "progress":
            order.tell(line.percent, 100, "percent")
        elif line.kind == "failed":
            raise as_error(line)
        else:
            return line
    process.wait()
    return None


def _crash(code: int, messages: str, edition: Edition) -> StageError:
    try:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        how = f"killed by signal {-code}"
    lines = [each for each in messages.splitlines() if each.strip()]
    last = f": {lines[-1].strip()[:_SHOWN_CHARACTERS]}" if lines else ""
    return StageError(
        "build",
        f"the process that drives {edition.title} crashed ({how}{last})",
        "try another precision or optimization_level, or use backend onnxruntime",
    )


def _environment() -> dict[str, str]:
    """Return our environment, in which the child finds the modules that we run from."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _timing_cache(order: Order, edition: Edition) -> str | None:
    """Return the file of the timing cache: one for each version and GPU, which share nothing."""
    if order.cache is None or edition is RTX or not order.options.tensorrt.timing_cache:
        return None
    parts = (edition.backend, machine.version(edition.backend), machine.fact("gpu"))
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in "-".join(parts))
    order.cache.mkdir(parents=True, exist_ok=True)
    return str(order.cache / f"{name}.timing")
