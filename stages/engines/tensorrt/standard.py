"""TensorRT for data-centre and desktop GPUs, 10.12 or newer."""

from pathlib import Path

from stages.engines.base import BuildRequest
from stages.engines.tensorrt import process
from stages.engines.tensorrt.edition import STANDARD
from stages.engines.tensorrt.session import TrtSession


def build(request: BuildRequest) -> process.Built:
    """Make an engine in a process of its own."""
    return process.build(request, STANDARD)


def open(  # noqa: A001  (the protocol)
    engine: Path, *, device: str, threads: int, cache: Path | None = None
) -> TrtSession:
    """Load an engine whose manifest lies beside it; threads are the GPU's own affair."""
    del device, threads, cache
    return TrtSession(engine, STANDARD)
