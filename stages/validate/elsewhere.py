"""An engine for GPUs that are elsewhere: what can be measured of it where none of them is.

A strongly typed engine computes what its graph says. ONNX Runtime on the CPU computes the same,
but for rounding, and so tells what the precision costs; it tells nothing of latency.
Shape legend: N images, K classes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.data.images import Images
from stages.onnxgraph import io as onnx_io
from stages.validate.predict import batched

_UNOPTIMISED = {"fp8"}
"""ONNX Runtime runs such graphs as they are, but its optimisations break them."""


def graph_logits(
    graph: Path, precision: str, shown: Images, *, threads: int
) -> NDArray[np.float32]:
    """Return the logits, of shape NK, of the graph that an engine was built from.

    Raises:
        StageError: ONNX Runtime has no kernels on the CPU for its precision.
    """
    try:
        opened = onnx_io.session(graph, threads, is_optimised=precision not in _UNOPTIMISED)
    except Exception as error:  # its exceptions share no public base class
        raise StageError(
            "validate",
            "ONNX Runtime cannot run the engine's graph on the CPU "
            f"({precision}: {first_line(error)})",
            "validate it where the GPU is",
        ) from error
    return batched(lambda x_BCHW: onnx_io.logits(opened, x_BCHW), shown)
