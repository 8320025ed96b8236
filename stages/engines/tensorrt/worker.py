"""The child process of a build: a request from a file in, lines of JSON out, an engine written.

    python -P -m stages.engines.tensorrt.worker REQUEST.json

A crash in native code ends this process and not the run.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx

from pipeline.atomic import write_bytes
from pipeline.errors import MadpipeError
from stages.engines.tensorrt import builder, engine_inspector, graph
from stages.engines.tensorrt.edition import EDITIONS
from stages.engines.tensorrt.messages import Line, Request

Send = Callable[[Line], None]


def main(arguments: list[str]) -> int:
    """Build what the request asks for; return the exit code."""
    send = _sender()
    try:
        request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Request)
        send(_build(request, send))
    except MadpipeError as error:
        send(Line(kind="failed", exit_code=error.exit_code, message=str(error)))
    except BrokenPipeError:
        return 1
    return 0


def _sender() -> Send:
    """Return what writes lines to the parent; other prints, native ones too, go to stderr."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(line: Line) -> None:
        channel.write(msgspec.json.encode(line) + b"\n")
        channel.flush()

    return send


def _build(request: Request, send: Send) -> Line:
    edition = EDITIONS[request.backend]
    content = Path(request.onnx).read_bytes()
    graph.check_precision(onnx.load_from_string(content), request.precision)
    cache = Path(request.timing_cache) if request.timing_cache else None
    known = cache.read_bytes() if cache and cache.is_file() else b""
    plan, timings = builder.build(request, edition, content, known, _teller(send))
    layers, types = "", {}
    if not request.targets:
        layers = builder.inspected(plan, edition)
        types = engine_inspector.layer_types(layers)
        engine_inspector.check_precision(types, request.precision)
    write_bytes(Path(request.engine), plan)
    if cache and timings:
        write_bytes(cache, timings)
    return Line(kind="built", layers=layers, layer_types=types)


def _teller(send: Send) -> builder.Tell:
    """Return what tells of each new percent, and stops the build once nobody listens."""
    told = -1

    def tell(percent: int) -> bool:
        nonlocal told
        if percent != told:
            told = percent
            try:
                send(Line(kind="progress", percent=percent))
            except BrokenPipeError:
                return False
        return True

    return tell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
