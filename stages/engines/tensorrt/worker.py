"""The child process of a build: a request from a file in, lines of JSON out, an engine written.

    python -P -m stages.engines.tensorrt.worker REQUEST.json

A crash in native code ends this process and not the run.
"""

import sys
from pathlib import Path
from typing import Literal

import msgspec
import onnx

from pipeline.atomic import write_bytes
from pipeline.errors import MadpipeError
from stages.engines import child_process
from stages.engines.tensorrt import builder, engine_inspector
from stages.engines.tensorrt.builder import WorkerRequest
from stages.engines.tensorrt.edition import EDITIONS


class WorkerMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the child."""

    kind: Literal["progress", "failed", "built"]
    percent: int = 0
    exit_code: int = 1
    error: tuple[str, str, str] = ("", "", "")
    """Place, what is wrong and remedy."""
    layer_types: dict[str, int] = {}
    layers: str = ""


def main(arguments: list[str]) -> int:
    """Build what the request names; return the exit code."""
    channel = child_process.answers()

    def send(message: WorkerMessage) -> None:
        channel.write(msgspec.json.encode(message) + b"\n")
        channel.flush()

    last_percent = -1

    def on_percent(percent: int) -> bool:
        """Report each new percent; stop the build once the parent is gone."""
        nonlocal last_percent
        if percent != last_percent:
            last_percent = percent
            try:
                send(WorkerMessage(kind="progress", percent=percent))
            except BrokenPipeError:
                return False
        return True

    try:
        request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=WorkerRequest)
        content = Path(request.onnx).read_bytes()
        engine_inspector.check_graph(onnx.load_from_string(content), request.precision)
        cache = Path(request.timing_cache) if request.timing_cache else None
        timings = cache.read_bytes() if cache and cache.is_file() else b""
        plan, timings = builder.build(content, request, timings, on_percent)
        layers, types = "", {}
        if not request.targets:
            layers = builder.inspect(plan, EDITIONS[request.backend])
            types = engine_inspector.layer_types(layers)
            engine_inspector.check_engine(types, request.precision)
        write_bytes(Path(request.engine), plan)
        if cache and timings:
            write_bytes(cache, timings)
        send(WorkerMessage(kind="built", layers=layers, layer_types=types))
    except MadpipeError as error:
        parts = (error.place, error.wrong, error.remedy)
        send(WorkerMessage(kind="failed", exit_code=error.exit_code, error=parts))
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
