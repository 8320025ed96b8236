"""int4: weights of 4 bits, with a scale for each output channel, that become floats when used.

Activations and products stay in float. The first layer and depthwise ones keep float weights: they
lose most by rounding and hold next to nothing (benchmarks/2026-11-27-int8.md).
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pipeline.errors import StageError
from stages.onnxgraph.layers import int_attribute, is_depthwise, layer_nodes, with_names
from stages.onnxgraph.rewrite import all_nodes

OPSET = 21
"""From here on DequantizeLinear takes INT4."""
_IR_VERSION = 10
"""The first that has the type."""
LIMIT = 7
"""The largest integer; -8 is left out, so that weights stay symmetric."""
_CLIPPING = np.linspace(0.4, 1.0, 25)
"""Shares of the largest weight that are tried as the end of the range."""
_LEAST_SCALE = float(np.finfo(np.float16).smallest_normal)
_AXES = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": -1}
"""Operator -> the axis of its weights that counts output channels; of Gemm where transB is 0."""


def round_weights(model: ModelProto, keep: Collection[str]) -> ModelProto:
    """Return a copy of an fp32 model, of `OPSET` or newer, with INT4 weights and DequantizeLinear.

    `keep` has the names of nodes to leave as they are. StageError where no weights are left.
    """
    model = with_names(model)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    int4 = helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
    dequantizers: dict[str, NodeProto] = {}
    for node in layer_nodes(model)[1:]:
        weight = stored[node.input[1]]
        if node.name in keep or is_depthwise(node, weight):
            continue
        axis = _axis(node) % len(weight.dims)
        output = f"{weight.name}_dequantized"
        if output not in dequantizers:
            array = numpy_helper.to_array(weight)
            scale_C = best_scale(np.moveaxis(array, axis, 0))
            names = [f"{weight.name}_quantized", f"{weight.name}_scale"]
            scale = scale_C.reshape([-1 if dim == axis else 1 for dim in range(array.ndim)])
            integers = np.clip(np.round(array / scale), -LIMIT, LIMIT).astype(int4)
            for values, name in zip((integers, scale_C), names, strict=True):
                model.graph.initializer.append(numpy_helper.from_array(values, name))
            dequantizers[output] = helper.make_node(
                "DequantizeLinear", names, [output], name=output, axis=axis
            )
        node.input[1] = output
    if not dequantizers:
        raise StageError(
            "build.precision",
            "int4 leaves this network as it is: it has no layer but its first, depthwise ones and "
            "those of build.float_layers",
            "use another precision",
        )
    nodes = [*dequantizers.values(), *model.graph.node]
    used = {name for node in (*nodes, *all_nodes(model.graph)) for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in used]
    for field in ("node", "initializer"):
        model.graph.ClearField(field)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    return model


def _axis(node: NodeProto) -> int:
    return 0 if int_attribute(node, "transB", 0) else _AXES[node.op_type]


def best_scale(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each row at which rounding has the least squared error.

    All are normal numbers of fp16, in which they may be stored.
    """
    rows = array.reshape(len(array), -1)
    largest = np.abs(rows).max(axis=1)
    best: NDArray[np.float32] = np.zeros_like(largest)
    least = np.full_like(largest, np.inf)
    for share in _CLIPPING:
        scale = np.maximum(share * largest / LIMIT, _LEAST_SCALE).astype(np.float16)
        scale_column = scale.astype(np.float32)[:, None]
        rounded = np.clip(np.round(rows / scale_column), -LIMIT, LIMIT) * scale_column
        error = ((rounded - rows) ** 2).sum(axis=1)
        best = np.where(error < least, scale_column[:, 0], best)
        least = np.minimum(least, error)
    return best
