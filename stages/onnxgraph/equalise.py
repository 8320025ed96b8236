"""Cross-layer equalisation: channels between two layers brought to one range before rounding.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
equations 9 to 11: a channel is divided by s in the layer that makes it and multiplied by s in the
one that takes it, which ReLU and pooling let through. The function stays as it is.

Shape legend: G groups, I input channels and O output channels of one, K pixels of the kernel, C
channels between two layers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from stages.onnxgraph.layers import int_attribute
from stages.onnxgraph.rewrite import all_nodes

_HOMOGENEOUS = ("AveragePool", "Dropout", "Flatten", "GlobalAveragePool", "Identity", "LeakyRelu",
                "MaxPool", "Relu")  # fmt: skip
"""Operators for which f(s x) = s f(x) in each channel, for s > 0."""
_BALANCED = 4.0
"""How far scales within a pair may be apart before it is equalised. In networks as they come from
training, with ranges alike, it is about 2, and rounding is none the better for bringing them
together (benchmarks/2026-11-27-int8.md)."""
_PASSES = 20
_SETTLED = 1e-3
"""Largest logarithm of a scale at which nothing is left to bring together."""
_LARGEST_SCALE = 2.0**20


class _Pair(NamedTuple):
    """Two layers in a row."""

    first: NodeProto
    second: NodeProto


def equalise(model: ModelProto) -> tuple[ModelProto, int]:
    """Return a copy of an fp32 model with equalised weights, and in how many pairs of layers.

    A pair is a convolution whose result goes through ReLU or pooling to one other layer alone.
    Those whose channels have ranges alike are left as they are.
    """
    equalised = ModelProto()
    equalised.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in equalised.graph.initializer}
    pairs = _pairs(equalised)
    names = {name for pair in pairs for node in pair for name in node.input[1:3] if name}
    arrays = {name: numpy_helper.to_array(tensors[name]).copy() for name in names}
    pairs = [pair for pair in pairs if np.ptp(np.log(_scale(pair, arrays))) > np.log(_BALANCED)]
    for _ in range(_PASSES):
        largest = max((_equalise_pair(pair, arrays) for pair in pairs), default=0.0)
        if largest < _SETTLED:
            break
    for name, array in arrays.items():
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    return equalised, len(pairs)


def _pairs(model: ModelProto) -> list[_Pair]:
    """Return the pairs in the order of the graph, of weights that nothing else takes."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    takers: dict[str, list[NodeProto]] = {}
    for node in all_nodes(model.graph):
        for name in node.input:
            takers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}

    def has_own_weights(node: NodeProto) -> bool:
        names = [name for name in node.input[1:3] if name]
        return bool(names) and all(name in shapes and len(takers[name]) == 1 for name in names)

    def following(node: NodeProto) -> NodeProto | None:
        """Return the one layer that a convolution's result goes to, None where there is none."""
        while node.output[0] not in outputs and len(takers.get(node.output[0], [])) == 1:
            (node,) = takers[node.output[0]]
            if node.op_type not in _HOMOGENEOUS:
                return node if node.op_type in ("Conv", "Gemm") else None
        return None

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    pairs = [_Pair(node, next_layer) for node in convolutions if (next_layer := following(node))]
    return [
        pair
        for pair in pairs
        if has_own_weights(pair.first)
        and has_own_weights(pair.second)
        # Of flattened maps of more than a pixel, a linear layer takes other columns.
        and _channels(pair.second, shapes) == shapes[pair.first.input[1]][0]
    ]


def _channels(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return how many channels a layer takes."""
    shape = shapes[node.input[1]]
    if node.op_type == "Gemm":
        return shape[1] if int_attribute(node, "transB", 0) else shape[0]
    return shape[1] * int_attribute(node, "group", 1)


def _equalise_pair(pair: _Pair, arrays: dict[str, NDArray[np.float32]]) -> float:
    """Bring the ranges of a pair's channels together; return the largest change, as logarithm."""
    scale = _scale(pair, arrays)
    first = arrays[pair.first.input[1]]
    second_GIOK = _by_input(pair.second, arrays[pair.second.input[1]])
    first /= scale.reshape(-1, *[1] * (first.ndim - 1))
    second_GIOK *= scale.reshape(*second_GIOK.shape[:2], 1, 1)
    if len(pair.first.input) > 2 and pair.first.input[2]:  # noqa: PLR2004
        arrays[pair.first.input[2]] /= scale
    return float(np.abs(np.log(scale)).max())


def _scale(pair: _Pair, arrays: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return what divides each channel; 1 for one that is dead."""
    first = arrays[pair.first.input[1]]
    range1_C = np.abs(first).reshape(len(first), -1).max(axis=1)
    second_GIOK = _by_input(pair.second, arrays[pair.second.input[1]])
    range2_C = np.abs(second_GIOK).max(axis=(2, 3)).ravel()
    ratio = np.divide(
        range1_C, range2_C, out=np.ones_like(range1_C), where=(range1_C > 0) & (range2_C > 0)
    )
    scale: NDArray[np.float32] = np.clip(np.sqrt(ratio), 1 / _LARGEST_SCALE, _LARGEST_SCALE)
    return scale


def _by_input(node: NodeProto, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a view of a layer's weights, of shape GIOK: G I are the channels that it takes."""
    if node.op_type == "Gemm":
        return (weight.T if int_attribute(node, "transB", 0) else weight)[None, :, :, None]
    groups = int_attribute(node, "group", 1)
    return weight.reshape(groups, len(weight) // groups, weight.shape[1], -1).swapaxes(1, 2)
