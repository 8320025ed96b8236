"""Gathers that change nothing are taken out, for OpenVINO's int8 reads them wrongly.

Shape legend: N images, C channel, H W space.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline import machine
from pipeline.settings import Build
from stages.engines import selection
from stages.engines.base import BACKENDS
from stages.engines.ort import OrtSession
from stages.onnxgraph import identity_gathers, intake
from stages.onnxgraph.convert import PrecisionConverter

CHANNELS, CLASSES = 16, 5
X_NCHW = np.random.default_rng(1).random((128, 3, 8, 8), dtype=np.float32)


def _pooled(batch: int | str = "batch", *, is_reversed: bool = False) -> ModelProto:
    """Return two convolutions, pooled as torch's exporter has it of a network in channels last."""
    rng = np.random.default_rng(0)

    def values(*shape: int, scale: float) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    steps_C = np.arange(CHANNELS)[:: -1 if is_reversed else 1]
    weights = {
        "w0": values(CHANNELS, 3, 3, 3, scale=0.27),
        "b0": values(CHANNELS, scale=0.3),
        "w1": values(CHANNELS, CHANNELS, 3, 3, scale=0.12),
        "b1": values(CHANNELS, scale=0.3),
        "w2": values(CLASSES, CHANNELS, scale=0.35),
        "axes": np.array([2, 3]),
        "flat_shape": np.array([-1]),
        "zero": np.array(0),
        "one": np.array(1),
        "channels": np.array(CHANNELS),
        "behind": np.array([1, 2, 3]),
        "steps": steps_C.reshape(1, -1, 1, 1),
        "rows": np.array([-1, CHANNELS]),
        "first": np.array([0]),
    }
    node = helper.make_node
    index = [
        node("Shape", ["x"], ["shape"], start=0, end=1),
        node("Squeeze", ["shape", "first"], ["count"]),
        node("Range", ["zero", "count", "one"], ["r"]),
        node("Mul", ["r", "channels"], ["rows_1"]),
        node("Unsqueeze", ["rows_1", "behind"], ["rows_4"]),
        node("Add", ["rows_4", "steps"], ["index"]),
    ]
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["h0"], pads=[1] * 4),
        node("Relu", ["h0"], ["h1"]),
        node("Conv", ["h1", "w1", "b1"], ["h2"], pads=[1] * 4),
        node("Add", ["h2", "h1"], ["h3"]),
        node("Relu", ["h3"], ["h4"]),
        node("ReduceMean", ["h4", "axes"], ["mean"], keepdims=1),
        node("Reshape", ["mean", "flat_shape"], ["flat"]),
        *(index if batch == "batch" else []),
        node("Gather", ["flat", "index" if batch == "batch" else "steps"], ["pooled"], axis=0),
        node("Reshape", ["pooled", "rows"], ["features"]),
        node("Gemm", ["features", "w2"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def _logits(model: ModelProto, *, is_optimised: bool = True) -> NDArray[np.float32]:
    session = OrtSession(model.SerializeToString(), threads=1, is_optimised=is_optimised)
    return session.infer(X_NCHW)


def test_a_gathered_mean_becomes_the_mean_with_the_same_logits(tmp_path: Path) -> None:
    model = _pooled()
    onnx.save(model, tmp_path / "m.onnx")
    read = intake.read(tmp_path / "m.onnx", Build())
    assert [node.op_type for node in read.model.graph.node[-3:]] == [
        "ReduceMean",
        "Reshape",
        "Gemm",
    ]
    assert len(read.model.graph.initializer) == 7
    (change,) = read.changes
    assert "by a gather, which OpenVINO's int8 gets wrong" in change
    assert np.array_equal(_logits(read.model), _logits(model))


def test_of_a_fixed_batch_the_index_for_it_decides(tmp_path: Path) -> None:
    onnx.save(_pooled(1), tmp_path / "m.onnx")
    read = intake.read(tmp_path / "m.onnx", Build())
    assert len(read.changes) == 2
    assert np.array_equal(_logits(read.model), _logits(_pooled()))


@pytest.mark.skipif(not machine.has_module("openvino"), reason="openvino is absent")
def test_openvino_computes_int8_as_onnxruntime_once_the_gather_is_out(tmp_path: Path) -> None:
    def agreement() -> float:
        converter = PrecisionConverter(model, X_NCHW, Build())
        quantized = converter.convert("int8", BACKENDS["openvino"]).model
        (tmp_path / "q.onnx").write_bytes(quantized.SerializeToString())
        session = selection.backend("openvino").open(tmp_path / "q.onnx", device="cpu", threads=1)
        classes_N = _logits(quantized, is_optimised=False).argmax(axis=1)
        return float((session.infer(X_NCHW).argmax(axis=1) == classes_N).mean())

    model = _pooled()
    assert agreement() < 0.9
    assert identity_gathers.remove(model) == 1
    assert agreement() > 0.97


def test_a_gather_that_changes_something_stays_and_so_does_one_that_cannot_be_run() -> None:
    assert identity_gathers.remove(_pooled(is_reversed=True)) == 0
    model = _pooled()
    model.graph.node[2].domain = "of.nobody"
    model.opset_import.append(helper.make_opsetid("of.nobody", 1))
    before = model.SerializeToString()
    assert identity_gathers.remove(model) == 0
    assert model.SerializeToString() == before
