"""What `precision = "auto"` will take, said before it begins: memory and time.

Shape legend: N images, C channel, H W space.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from onnx import ModelProto

from pipeline.settings import Build
from stages.engines.base import BACKENDS
from stages.engines.selection import Candidate
from stages.image_bank import Images
from stages.onnxgraph import calibrate, qdq, rewrite
from stages.onnxgraph.convert import CALIBRATED
from stages.onnxgraph.layers import layer_nodes

BISECTION_IMAGES = 256
_VALUE_BYTES = 4
_CALIBRATION_COPIES = 2
"""Of all activations, that the tools hold at a time."""
_CALIBRATION_VALUE_S = 1e-8
"""Of one activation's histogram, on one core; see benchmarks/2026-11-27-build-needs.md."""
_CONVERSION_LAYER_S = 0.015
"""Of one layer, each time that a graph is quantized."""
_TIMING_S = 2.0
"""Of the latencies of all candidates together."""
_WEIGHT_COPIES = 2
"""Of the weights for each candidate: in its session, and in the form that its kernels take."""
_LIBRARIES_BYTES = 500 * 2**20
_TRAINING_FACTOR = 15
"""Of training on an image to the reference's time for it, on one core: 8 for a ResNet-18, 12 to 15
for a ResNet-8, 19 to 37 for a MobileNetV2 of half width; more where an image is of 8 pixels."""
_BATCH_PIXELS = 256 * 32 * 32
_MIN_BATCH, _MAX_BATCH = 16, 256
_NOTED_BYTES, _NOTED_S = 2**30, 30.0


class Needs(NamedTuple):
    """An estimate, made of the graph and of the time of the reference."""

    memory_bytes: int
    seconds: float
    more_s: float
    """More, where int8 disagrees in all schemes: its training, if any is left to that, and the
    search for all layers allowed."""


def of_auto(
    model: ModelProto,
    images_NCHW: Images,
    options: Build,
    candidates: Sequence[Candidate],
    reference_s: float,
    *,
    train: object = None,
) -> Needs:
    """Return what building and comparing these candidates will take.

    `reference_s` is what the fp32 model took for all images; `train` is what trains int8 where
    the options ask for it, None where nothing does.
    """
    schemes = {BACKENDS[c.backend].scheme for c in candidates if c.precision in CALIBRATED}
    activations = sum(_activations(model, qdq.SCHEMES[name].ops) for name in schemes)
    weights_bytes = sum(math.prod(t.dims) * _VALUE_BYTES for t in model.graph.initializer)
    batch = calibrate.batch_size(math.prod(images_NCHW.shape[1:]))
    memory_bytes = (
        _LIBRARIES_BYTES
        + images_NCHW.nbytes
        + batch * activations * _VALUE_BYTES * _CALIBRATION_COPIES
        + weights_bytes * _WEIGHT_COPIES * (1 + len(candidates))
    )
    count, layers = len(images_NCHW), len(layer_nodes(model))
    calibrated = min(count, options.calibration_images)
    conversion_s = layers * _CONVERSION_LAYER_S
    seconds = (
        _TIMING_S
        + len(candidates) * reference_s
        + len(schemes) * calibrated * reference_s / count
        + calibrated * activations * _CALIBRATION_VALUE_S
        + sum(c.precision in CALIBRATED for c in candidates) * conversion_s
    )
    trial_s = min(1.0, BISECTION_IMAGES / count) * reference_s + conversion_s
    trials = most_trials(layers, options.bisect_layers) * len(schemes)
    more_s = trials * trial_s
    if train is not None:
        steps = options.int8_steps * len(schemes)
        images = steps * training_batch(options, math.prod(images_NCHW.shape[2:]))
        training_s = images * reference_s / count * _TRAINING_FACTOR
        is_certain = options.int8 == "trained"
        seconds += training_s * is_certain
        more_s += training_s * (not is_certain)
    return Needs(memory_bytes, seconds, more_s)


def training_batch(options: Build, pixels: int) -> int:
    """Return the images of a training step, of so many pixels: memory holds all activations."""
    bounded = min(max(_MIN_BATCH, _BATCH_PIXELS // pixels), _MAX_BATCH)
    return options.int8_batch_size or bounded


def most_trials(layers: int, bisect_layers: int) -> int:
    """Return how many graphs the search for sensitive layers tries at most in one scheme."""
    return bisect_layers * (2 * layers.bit_length() + 1)


def line(needs: Needs, candidates: int, images_NCHW: Images) -> str | None:
    """Return what to say of it, None where it is little."""
    if needs.memory_bytes < _NOTED_BYTES and needs.seconds + needs.more_s < _NOTED_S:
        return None
    height, width = images_NCHW.shape[2:]
    return (
        f"auto compares {candidates} candidates on {len(images_NCHW)} images of {height} x {width}"
        f": about {needs.seconds:.0f} s, up to {needs.more_s:.0f} s more where int8 "
        f"disagrees, and {needs.memory_bytes / 2**20:.0f} MiB; fewer calibration images or a named "
        "precision take less"
    )


def _activations(model: ModelProto, ops: Sequence[str]) -> int:
    """Return how many values of one image go into and come out of some operators."""
    shapes = rewrite.inferred_values(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    names = {
        name
        for node in model.graph.node
        if node.op_type in ops
        for name in (*node.input, *node.output)
        if name in shapes and name not in weights
    }
    dims = (shapes[name].type.tensor_type.shape.dim[1:] for name in names)
    return sum(math.prod(max(1, dim.dim_value) for dim in shape) for shape in dims)
