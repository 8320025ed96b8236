"""The precision that an engine computes in: that of its graph, and of the finished engine.

Strongly typed engines have the arithmetic of their ONNX graph and no other. Of a finished engine
TensorRT's inspector reports types; its text differs between versions, so they are looked for by
their names.
"""

import json
import math
import re
from collections import Counter

from onnx import ModelProto, TensorProto, helper

from pipeline.stage import StageError

_WEIGHT_TYPES = {
    "fp32": "FLOAT",
    "fp16": "FLOAT16",
    "bf16": "BFLOAT16",
    "int8": "INT8",
    "fp8": "FLOAT8E4M3FN",
    "int4": "INT4",
}
"""Precision -> the ONNX type that its weights have."""
_QUANTIZED = ("int8", "fp8", "int4")
_ARITHMETIC = {"int4": "fp16"}
"""Precision -> the one that its tensors have, where that is another."""
_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16")
_PATTERNS = {
    "fp16": re.compile(r"\b(fp16|half|float16)\b", re.IGNORECASE),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE),
    "int8": re.compile(r"\bint8\b", re.IGNORECASE),
    "fp8": re.compile(r"\bfp8\b", re.IGNORECASE),
    "fp32": re.compile(r"\b(fp32|float|float32)\b", re.IGNORECASE),
}
"""Precision -> how the inspector's text names it."""


def weights_bytes(model: ModelProto) -> dict[str, int]:
    """Return the bytes of a graph's weights by their ONNX type."""
    constants = (
        attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    )
    sizes: Counter[str] = Counter()
    for tensor in (*model.graph.initializer, *constants):
        width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        count = math.prod(tensor.dims)
        is_packed = tensor.data_type == TensorProto.INT4
        size = (count + 1) // 2 if is_packed else width * count
        sizes[TensorProto.DataType.Name(tensor.data_type)] += size
    return dict(sorted(sizes.items()))


def check_graph(model: ModelProto, precision: str) -> None:
    """Make sure that a graph has the arithmetic of a precision; StageError where it has another."""
    sizes = weights_bytes(model)
    weight_type = _WEIGHT_TYPES[precision]
    is_quantized = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    if precision in _QUANTIZED:
        fits = is_quantized and sizes.get(weight_type, 0) > 0
    else:
        floats = {name: size for name, size in sizes.items() if name in _FLOATS}
        most = max(floats, key=floats.__getitem__, default=None)
        fits = most == weight_type and not is_quantized
    if not fits:
        summary = ", ".join(f"{name} {size} B" for name, size in sizes.items()) or "no weights"
        raise StageError(
            "build.precision",
            f"the graph is not {precision}, and the engine would not be either ({summary})",
            f"give an ONNX file whose weights are {weight_type}, or another precision",
        )


def layer_types(report: str) -> dict[str, int]:
    """Return how many tensors an inspector's report has of each precision; none without types."""
    try:
        document = json.loads(report)
    except ValueError:
        return {}
    counts: Counter[str] = Counter()
    for layer in document.get("Layers", []) if isinstance(document, dict) else []:
        outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
        for output in outputs if isinstance(outputs, list) else []:
            fields = output.items() if isinstance(output, dict) else ()
            for datatype in (str(value) for key, value in fields if "datatype" in key.lower()):
                names = [name for name, regex in _PATTERNS.items() if regex.search(datatype)]
                counts.update(names[:1])
    return dict(sorted(counts.items()))


def check_engine(types: dict[str, int], precision: str) -> None:
    """Raise StageError where the inspector names types and the precision is not among them.

    Of an engine that is one fused layer only the type of its output is seen, which proves nothing.
    """
    if sum(types.values()) > 1 and _ARITHMETIC.get(precision, precision) not in types:
        summary = ", ".join(f"{name} {count}" for name, count in types.items())
        raise StageError(
            "build.precision",
            f"the finished engine has no {precision} layer (its tensors: {summary})",
            "use another precision, or madpipe doctor",
        )
