"""A quantized graph whose weights and ranges can be trained, and written back into it.

The graph stays as `qdq.py` or `four_bits.py` made it, with the same nodes at the same places: what
is trained is what runs. Weights and biases are floats here that are rounded in every pass.

Shape legend: B batch, C channel, H W space, K classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from torch import Tensor, nn

from models.programs.onnx_graph import TorchGraph, along, fake_quantize
from stages.onnxgraph import four_bits
from stages.onnxgraph.layers import LAYER_OPS, int_attribute

_SUFFIX = "_quantized"
"""What onnxruntime's quantizer adds to the name of weights."""
_REDUCED = 64
"""The largest weight of 7 bits."""
_LARGEST = 127
_INT32 = 2**31 - 1
_LEAST_SCALE = 1e-8
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


class _Stored(NamedTuple):
    """Weights or biases that a DequantizeLinear reads."""

    name: str
    scale: str
    output: str
    axis: int
    limit: int
    """The largest integer of weights."""


class FakeQuantizedGraph(nn.Module):
    """A Q/DQ graph with trainable weights, biases and ranges of activations."""

    def __init__(self, quantized: ModelProto, source: ModelProto) -> None:
        """Take a graph and the fp32 one that it was made of, whose weights are where it starts.

        Raises:
            UnsupportedNode: A node has no equivalent in torch.
        """
        super().__init__()
        self._model = quantized
        self._graph = TorchGraph(quantized)
        self._parameter_of: dict[str, str] = {}
        floats = {t.name: t for t in source.graph.initializer if t.data_type == TensorProto.FLOAT}
        tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
        self._weights: list[_Stored] = []
        self._biases: list[_Stored] = []
        self._scales: set[str] = set()
        for node in quantized.graph.node:
            if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
                array = numpy_helper.to_array(tensors[node.input[0]])
                stored = _stored(node, array)
                is_bias = tensors[stored.name].data_type == TensorProto.INT32
                (self._biases if is_bias else self._weights).append(stored)
                self._add(stored.name, self._start(stored, array, floats))
                if stored.limit == four_bits.LIMIT:
                    self._add_scale(stored.scale, tensors)
            elif node.op_type in LAYER_OPS:
                for name in node.input[1:3]:
                    if name in tensors and tensors[name].data_type in _FLOATS:
                        self._add(name, numpy_helper.to_array(tensors[name]))
            elif node.op_type == "QuantizeLinear":
                self._add_scale(node.input[1], tensors)

    def _start(
        self, stored: _Stored, array: np.ndarray, floats: Mapping[str, TensorProto]
    ) -> np.ndarray:
        """Return the floats that integers were rounded from, or else what these stand for."""
        source = floats.get(stored.name.removesuffix(_SUFFIX))
        if source is not None and tuple(source.dims) == array.shape:
            return numpy_helper.to_array(source)
        scale = self._graph.stored(stored.scale)
        dequantized = torch.from_numpy(array.astype(np.float32)) * along(
            scale, stored.axis, array.ndim
        )
        floats_of: np.ndarray = dequantized.numpy()
        return floats_of

    def _add(self, name: str, array: np.ndarray) -> None:
        if name not in self._parameter_of:
            self._parameter_of[name] = f"trained{len(self._parameter_of)}"
            value = torch.from_numpy(array.astype(np.float32))
            self.register_parameter(self._parameter_of[name], nn.Parameter(value))

    def _add_scale(self, name: str, tensors: Mapping[str, TensorProto]) -> None:
        """Train a scale in logarithms, so that a step is a share of it and none falls below 0."""
        self._scales.add(name)
        scale = numpy_helper.to_array(tensors[name]).astype(np.float32)
        self._add(name, np.asarray(np.log(scale)))

    def _trained(self, name: str) -> Tensor:
        parameter: Tensor = getattr(self, self._parameter_of[name])
        return parameter.exp() if name in self._scales else parameter

    @property
    def log_scales(self) -> list[Tensor]:
        """Return the trained logarithms of scales: of activations, and of weights of 4 bits."""
        return [getattr(self, self._parameter_of[name]) for name in sorted(self._scales)]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape BK for images as the graph takes them."""
        instead = {name: self._trained(name) for name in self._parameter_of}
        for stored in self._weights:
            weight = instead.pop(stored.name)
            instead[stored.output] = fake_quantize(
                weight,
                self._weight_scale(weight, stored),
                weight.new_zeros(()),
                low=-stored.limit,
                high=stored.limit,
            )
        for stored in self._biases:
            instead[stored.output] = instead.pop(stored.name)
        logits_BK: Tensor = self._graph(x, instead)
        return logits_BK

    def _weight_scale(self, weight: Tensor, stored: _Stored) -> Tensor:
        """Return the scale at which the largest weight, of each channel or of all, is the limit.

        That of weights of 4 bits, which gain by cutting off the largest, is trained.
        """
        if stored.scale in self._scales:
            return along(self._trained(stored.scale).to(weight.device), stored.axis, weight.dim())
        scale = self._graph.stored(stored.scale)
        magnitude = weight.detach().abs()
        if scale.numel() == 1:
            return (magnitude.max() / stored.limit).clamp(min=_LEAST_SCALE)
        others = [dim for dim in range(weight.dim()) if dim != stored.axis]
        return (magnitude.amax(others, keepdim=True) / stored.limit).clamp(min=_LEAST_SCALE)

    @torch.no_grad()
    def rounded(self) -> ModelProto:
        """Return the graph with the trained weights, biases and scales as its integers."""
        model = ModelProto()
        model.CopyFrom(self._model)
        arrays = {name: self._trained(name).cpu().numpy() for name in self._parameter_of}
        scales: dict[str, Tensor] = {}
        for stored in self._weights:
            weight = self._trained(stored.name).cpu()
            scale = self._weight_scale(weight, stored)
            scales[stored.scale] = scale
            integers = torch.round(weight / scale).clamp(-stored.limit, stored.limit)
            arrays[stored.name] = integers.numpy()
            arrays[stored.scale] = scale.numpy()
        makers = {name: node for node in model.graph.node for name in node.output}
        users = {name: node for node in model.graph.node for name in node.input}
        for stored in self._biases:
            # int32 products are added up, so a bias has the scale of the products.
            layer = users[stored.output]
            data, weight_scale = (makers[name].input[1] for name in layer.input[:2])
            data_scale = self._trained(data).cpu().reshape(())
            scale = data_scale * scales[weight_scale]
            integers = torch.round(torch.from_numpy(arrays[stored.name]).double() / scale.flatten())
            arrays[stored.name] = integers.clamp(-_INT32, _INT32).numpy()
            arrays[stored.scale] = scale.numpy()
        for tensor in model.graph.initializer:
            if tensor.name in arrays:
                old = numpy_helper.to_array(tensor)
                new = arrays[tensor.name].reshape(old.shape).astype(old.dtype)
                tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        return model


def _stored(node: NodeProto, array: np.ndarray) -> _Stored:
    axis = int_attribute(node, "axis", 1)
    # The largest weight is at the end of its range, so it tells which range that is.
    is_reduced = np.abs(array.astype(np.int64)).max(initial=0) <= _REDUCED
    limit = _REDUCED if is_reduced else _LARGEST
    if array.dtype.name == "int4":
        limit = four_bits.LIMIT
    return _Stored(node.input[0], node.input[1], node.output[0], axis, limit)
