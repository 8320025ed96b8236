"""TensorRT-RTX, which also builds for GPUs that are not here."""

from pathlib import Path

from stages.engines.base import BuildRequest
from stages.engines.tensorrt import process
from stages.engines.tensorrt.edition import RTX
from stages.engines.tensorrt.session import TrtSession


def build(request: BuildRequest) -> process.Built:
    """Make an engine in a process of its own."""
    return process.build(request, RTX)


def open(  # noqa: A001  (the protocol)
    engine: Path, *, device: str, threads: int, cache: Path | None = None
) -> TrtSession:
    """Load an engine whose manifest lies beside it; threads are the GPU's own affair."""
    del device, threads
    return TrtSession(engine, RTX, cache)
