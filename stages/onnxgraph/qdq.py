"""onnxruntime's static quantizer, called as both int8 and fp8 need it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime import quantization

from stages.onnxgraph.calibrate import quiet
from stages.onnxgraph.layers import Left, Prepared, before_first_layer, layers

_READY = "onnx.quant.pre_process"


def quantized(
    model: ModelProto,
    ranges: Any,
    *,
    ops: Collection[str],
    keep: Collection[str],
    extra: Mapping[str, Any],
    **how: Any,
) -> Prepared:
    """Return the model with Q/DQ pairs.

    Args:
        model: An fp32 model whose nodes have names.
        ranges: Of the activations, from `ranges.measure`.
        ops: Operators to quantize.
        keep: Names of nodes to leave in float.
        extra: The quantizer's `extra_options`.
        how: Its other options: types, calibration method.
    """
    ready = ModelProto()
    ready.CopyFrom(model)
    # The mark that keeps the tool from advising to prepare the model.
    ready.metadata_props.add(key=_READY, value="onnxruntime.quant")
    with TemporaryDirectory(prefix="madpipe-") as folder, quiet():
        cache, out = Path(folder) / "ranges.json", Path(folder) / "model.onnx"
        quantization.save_tensors_data(ranges, cache)
        quantization.quantize_static(
            ready,
            out,
            op_types_to_quantize=list(ops),
            nodes_to_exclude=sorted(before_first_layer(model) | set(keep)),
            calibration_cache_path=cache,
            extra_options=dict(extra),
            **how,
        )
        made = onnx.load(str(out))
    _restore(made, model)
    left = [
        Left(node.name, node.op_type, "asked for") for node in layers(model) if node.name in keep
    ]
    return Prepared(made, tuple(left))


def _restore(made: ModelProto, model: ModelProto) -> None:
    """Put the metadata and the producer back, which the tool overwrites."""
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
