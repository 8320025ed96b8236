"""Logits of each network of the chain on the same images: teacher, student, ONNX file, engine.

An engine for GPUs that this machine lacks is represented by the graph that it was built from. A
strongly typed engine computes what its graph says, and ONNX Runtime on the CPU computes the same
but for rounding: that shows what the precision costs, and nothing of latency.
Shape legend: N images, K classes.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.classifier import Classifier
from pipeline.errors import first_line
from pipeline.stage import StageError
from stages.data.images import Images
from stages.engines.base import Session
from stages.networks.predict import predict, predict_torch
from stages.onnxgraph import io as onnx_io

_UNOPTIMISED = {"fp8"}
"""ONNX Runtime runs such graphs as they are, but its optimisations break them."""


def torch_logits(network: Classifier, images: Images) -> NDArray[np.float32]:
    """Return the logits NK of a torch network, in fp32 on the CPU, the reference for all others."""
    return predict_torch(network, images, torch.device("cpu")).numpy()


def onnx_logits(path: Path, images: Images) -> NDArray[np.float32]:
    """Return the logits NK of an ONNX file in ONNX Runtime on the CPU."""
    session = onnx_io.open_session(path)
    return predict(lambda x_BCHW: onnx_io.logits(session, x_BCHW), images)


def engine_logits(session: Session, images: Images) -> NDArray[np.float32]:
    """Return the logits NK of an engine."""
    return predict(session.infer, images)


def graph_logits(
    graph: Path, precision: str, images: Images, *, threads: int
) -> NDArray[np.float32]:
    """Return the logits NK of the graph that an engine was built from.

    Raises:
        StageError: ONNX Runtime has no kernels on the CPU for its precision.
    """
    try:
        session = onnx_io.open_session(graph, threads, is_optimised=precision not in _UNOPTIMISED)
    except Exception as error:  # its exceptions share no public base class
        raise StageError(
            "validate",
            f"ONNX Runtime cannot run the engine's graph on the CPU "
            f"({precision}: {first_line(error)})",
            "validate it where the GPU is",
        ) from error
    return predict(lambda x_BCHW: onnx_io.logits(session, x_BCHW), images)
