"""What the arithmetic of an ONNX graph is: strongly typed engines have that and no other."""

import math
from collections import Counter
from collections.abc import Iterator

from onnx import ModelProto, TensorProto, helper

from pipeline.stage import StageError

_WANTED = {
    "fp32": "FLOAT",
    "fp16": "FLOAT16",
    "bf16": "BFLOAT16",
    "int8": "INT8",
    "fp8": "FLOAT8E4M3FN",
}
_QUANTIZED = ("int8", "fp8")
_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16")


def weights_bytes(model: ModelProto) -> dict[str, int]:
    """Return the bytes of a graph's weights by their ONNX type; 4-bit types count as a byte."""
    found: Counter[str] = Counter()
    for tensor in _weights(model):
        name = TensorProto.DataType.Name(tensor.data_type)
        width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        found[name] += width * math.prod(tensor.dims)
    return dict(sorted(found.items()))


def check_precision(model: ModelProto, precision: str) -> None:
    """Make sure that the graph has the arithmetic that is asked for.

    Raises:
        StageError: It has another.
    """
    found = weights_bytes(model)
    types = _FLOATS if precision not in _QUANTIZED else tuple(found)
    most = max((name for name in found if name in types), key=lambda n: found[n], default="none")
    quantizes = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    wanted = _WANTED[precision]
    if precision in _QUANTIZED:
        fits = quantizes and found.get(wanted, 0) > 0
    else:
        fits = most == wanted and not quantizes
    if not fits:
        shown = ", ".join(f"{name} {count} B" for name, count in found.items()) or "no weights"
        raise StageError(
            "build.precision",
            f"the graph is not {precision}, and the engine would not be either ({shown})",
            f"give an ONNX file whose weights are {wanted}, or another precision",
        )


def _weights(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from (each.t for each in node.attribute if each.name == "value")
