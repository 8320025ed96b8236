"""Padding with zeros ahead of max pooling, kept from what ONNX Runtime makes of it.

Its optimiser (1.31 and older) moves such a padding into the pooling, which pads with minus
infinity: where all values of a window are negative, zero is no longer the largest.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx import numpy_helper as arrays

_NEARLY_ZERO = 2.0**-24
"""Fusing asks for zero itself. This is the smallest number of fp16 above it."""
_NAME = "padding_nearly_zero"
_VALUE = 2
"""The place of the value among a padding's inputs."""


def keep_zero_padding(model: ModelProto) -> int:
    """Pad with nearly zero where max pooling follows zeros; return how many nodes were changed."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    pooled = {node.input[0] for node in graph.node if node.op_type == "MaxPool"}
    changed = 0
    for node in graph.node:
        is_pooled = node.op_type == "Pad" and node.output[0] in pooled
        if not is_pooled or not _is_zero(node, stored, makers):
            continue
        maker = makers.get(node.input[0])
        if maker is not None and maker.op_type == "Relu":
            continue  # nothing is negative there
        if len(node.input) <= _VALUE:
            node.input.append("")
        node.input[_VALUE] = _NAME
        changed += 1
    if changed:
        graph.initializer.append(arrays.from_array(np.array(_NEARLY_ZERO, np.float32), _NAME))
    return changed


def _is_zero(node: NodeProto, stored: dict[str, TensorProto], makers: dict[str, NodeProto]) -> bool:
    """Return whether a node pads with the constant zero, in fp32."""
    mode = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "mode"), b"")
    if mode not in (b"", b"constant") or len(node.input) < _VALUE:  # before opset 11: attributes
        return False
    name = node.input[_VALUE] if len(node.input) > _VALUE else ""
    if not name:
        return True
    tensor, maker = stored.get(name), makers.get(name)
    if tensor is None and maker is not None and maker.op_type == "Constant":
        tensor = next((a.t for a in maker.attribute if a.name == "value"), None)
    if tensor is None or tensor.data_type != TensorProto.FLOAT:
        return False
    return not arrays.to_array(tensor).any()
