"""fp8 (e4m3fn): Q/DQ pairs around convolutions and matrix products, for TensorRT alone.

Scales by onnxruntime's distribution calibrator, one for each tensor. ONNX Runtime cannot run
such a graph with its optimisations on, so nothing but TensorRT is offered it.
"""

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantType

from stages.precision.int8 import READY, restore
from stages.precision.layers import Left, Prepared, before_first_layer, layers
from stages.precision.ranges import quiet

OPS = ("Conv", "Gemm", "MatMul")


def quantize(model: ModelProto, ranges: Any, *, keep: Collection[str]) -> Prepared:
    """Return the model with fp8 Q/DQ pairs.

    Args:
        model: An fp32 model of opset 19 or newer whose nodes have names.
        ranges: Of the activations, from `ranges.measure` with method "distribution".
        keep: Names of nodes to leave in float.
    """
    ahead = before_first_layer(model)
    ready = ModelProto()
    ready.CopyFrom(model)
    ready.metadata_props.add(key=READY, value="onnxruntime.quant")
    with TemporaryDirectory(prefix="madpipe-") as folder, quiet():
        cache, out = Path(folder) / "ranges.json", Path(folder) / "model.onnx"
        quantization.save_tensors_data(ranges, cache)
        quantization.quantize_static(
            ready,
            out,
            op_types_to_quantize=list(OPS),
            activation_type=QuantType.QFLOAT8E4M3FN,
            weight_type=QuantType.QFLOAT8E4M3FN,
            nodes_to_exclude=sorted(ahead | set(keep)),
            calibrate_method=CalibrationMethod.Distribution,
            calibration_cache_path=cache,
            extra_options={
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": list(OPS),
            },
        )
        made = onnx.load(str(out))
    restore(made, model)
    left = [
        Left(node.name, node.op_type, "asked for") for node in layers(model) if node.name in keep
    ]
    return Prepared(made, tuple(left))
