"""int8 and fp8: ranges of activations over images, and Q/DQ pairs around the layers.

Both by onnxruntime. int8 comes in the scheme of the backend that will run the graph:
u8s8: unsigned activations with a zero point, signed weights with a scale for each channel; what
the kernels of ONNX Runtime and OpenVINO want on a CPU.
s8s8: symmetric signed activations and weights, biases in float; what TensorRT takes.

fp8 (e4m3fn), with one scale for each tensor, is for TensorRT alone: ONNX Runtime cannot run such a
graph with its optimisations on.
"""

import contextlib
import io
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantType

from stages.onnxgraph import layers
from stages.onnxgraph.layers import Converted, KeptFloat

METHODS = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
    "distribution": (CalibrationMethod.Distribution, {}),
}
_BATCH = 32


class Scheme(NamedTuple):
    """How a graph is quantized."""

    ops: tuple[str, ...]
    """Operators whose inputs and outputs are quantized."""
    activation_type: QuantType
    weight_type: QuantType = QuantType.QInt8
    is_symmetric: bool = False
    """Whether activations have no zero point."""
    has_channel_scales: bool = True
    quantizes_bias: bool = False
    float_outputs: tuple[str, ...] = ("Gemm", "MatMul")
    """Operators whose outputs are not: 256 levels of a logit would make ties, and so decide classes
    by chance."""


_FP8_OPS = ("Conv", "Gemm", "MatMul")
SCHEMES = {
    "u8s8": Scheme(
        (
            "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm",
            "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu", "Reshape", "Squeeze",
            "Transpose", "Unsqueeze",
        ),
        QuantType.QUInt8,
        quantizes_bias=True,
    ),
    "s8s8": Scheme(
        ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool"),
        QuantType.QInt8,
        is_symmetric=True,
    ),
    "fp8": Scheme(
        _FP8_OPS,
        QuantType.QFLOAT8E4M3FN,
        QuantType.QFLOAT8E4M3FN,
        has_channel_scales=False,
        float_outputs=_FP8_OPS,
    ),
}  # fmt: skip


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """One batch of images, as the calibrators read it."""

    def __init__(self, name: str, x: NDArray[Any]) -> None:
        self._batches = iter([{name: x}])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next feed, None at the end."""
        return next(self._batches, None)


def activation_ranges(model: ModelProto, x: NDArray[Any], method: str, ops: tuple[str, ...]) -> Any:
    """Return the ranges of the tensors around the named operators, as onnxruntime holds them.

    Batch by batch, so that memory holds the activations of few images at a time.

    Args:
        model: A float model with one input.
        x: Images as the graph takes them.
        method: A name in `METHODS`.
        ops: Operator types.
    """
    calibration_method, options = METHODS[method]
    name = model.graph.input[0].name
    with TemporaryDirectory(prefix="madpipe-") as folder, _quiet():
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        calibrator = quantization.create_calibrator(
            path,
            list(ops),
            str(Path(folder) / "augmented.onnx"),
            calibration_method,
            extra_options=options,
        )
        for first in range(0, len(x), _BATCH):
            calibrator.collect_data(_Reader(name, x[first : first + _BATCH]))
        return calibrator.compute_data()


def quantize(
    model: ModelProto,
    scheme: Scheme,
    ranges: Any,
    *,
    method: str,
    keep: Collection[str],
    reduce_range: bool = False,
) -> Converted:
    """Return the model with Q/DQ pairs, a copy beside `model`.

    Args:
        model: An fp32 model whose nodes have names; for fp8 of opset 19 or newer.
        scheme: One of `SCHEMES`.
        ranges: Of the activations around its operators, from `activation_ranges`.
        method: How they were measured; "distribution" for fp8.
        keep: Names of nodes to leave in float.
        reduce_range: Weights of 7 bits, for CPUs whose 8-bit products saturate in 16.
    """
    source = ModelProto()
    source.CopyFrom(model)
    # The mark that keeps the tool from advising to prepare the model.
    source.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with TemporaryDirectory(prefix="madpipe-") as folder, _quiet():
        ranges_path, out = Path(folder) / "ranges.json", Path(folder) / "model.onnx"
        quantization.save_tensors_data(ranges, ranges_path)
        quantization.quantize_static(
            source,
            out,
            op_types_to_quantize=list(scheme.ops),
            nodes_to_exclude=sorted(layers.nodes_before_layers(model) | set(keep)),
            per_channel=scheme.has_channel_scales,
            reduce_range=reduce_range,
            activation_type=scheme.activation_type,
            weight_type=scheme.weight_type,
            calibrate_method=METHODS[method][0],
            calibration_cache_path=ranges_path,
            extra_options={
                "ActivationSymmetric": scheme.is_symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": scheme.quantizes_bias,
                "OpTypesToExcludeOutputQuantization": list(scheme.float_outputs),
            },
        )
        quantized = onnx.load(str(out))
    # The tool overwrites the metadata and the producer.
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    quantized.producer_name = model.producer_name
    quantized.producer_version = model.producer_version
    names = [node.name for node in layers.layer_nodes(model) if node.name in keep]
    return Converted(quantized, tuple(KeptFloat(name, layers.KEPT_BY_NAME) for name in names))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' advice, printed and logged, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
