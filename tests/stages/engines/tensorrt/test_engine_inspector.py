"""What precision a graph and a finished engine have; the form of the report is NVIDIA's."""

import json
from pathlib import Path

import onnx
import pytest

from pipeline.errors import StageError
from stages.engines.tensorrt import engine_inspector


def _report(*datatypes: str) -> str:
    outputs = [[{"Name": "t", "Format/Datatype": datatype}] for datatype in datatypes]
    return json.dumps({"Layers": [{"Name": "l", "Outputs": tensors} for tensors in outputs]})


def test_types_are_counted_by_their_names() -> None:
    report = _report("Row major linear FP32", "Half", "Channel major FP16 format", "Int8", "BF16")
    assert engine_inspector.layer_types(report) == {"bf16": 1, "fp16": 2, "fp32": 1, "int8": 1}


@pytest.mark.parametrize("report", ["", "{", "[]", '{"Layers": ["name only"]}', '{"Layers": [{}]}'])
def test_a_report_that_names_no_types_proves_nothing(report: str) -> None:
    assert engine_inspector.layer_types(report) == {}
    engine_inspector.check_engine({}, "fp16")


def test_an_engine_without_its_precision_is_refused() -> None:
    engine_inspector.check_engine({"fp16": 1, "fp32": 9}, "fp16")
    engine_inspector.check_engine({"fp32": 1}, "fp16")  # one fused layer
    with pytest.raises(StageError, match=r"no int8 layer \(its tensors: fp16 1, fp32 9\)"):
        engine_inspector.check_engine({"fp16": 1, "fp32": 9}, "int8")
    engine_inspector.check_engine({"fp16": 2}, "int4")  # weights alone


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_graph_is_of_its_own_precision_and_of_no_other(
    onnx_files: dict[str, Path], precision: str
) -> None:
    model = onnx.load(str(onnx_files[precision]))
    engine_inspector.check_graph(model, precision)
    for other in {"fp32", "fp16", "bf16", "int8", "fp8", "int4"} - {precision}:
        with pytest.raises(StageError, match=f"the graph is not {other}"):
            engine_inspector.check_graph(model, other)


def test_half_the_weights_are_half_the_bytes(onnx_files: dict[str, Path]) -> None:
    sizes = {
        name: engine_inspector.weights_bytes(onnx.load(str(path)))
        for name, path in onnx_files.items()
    }
    assert sizes["fp16"]["FLOAT16"] * 2 == sizes["fp32"]["FLOAT"]
    assert sizes["int8"]["INT8"] > 0.9 * sizes["fp32"]["FLOAT"] / 4


def test_a_graph_without_weights_is_of_no_precision() -> None:
    empty = onnx.ModelProto()
    with pytest.raises(StageError, match="no weights"):
        engine_inspector.check_graph(empty, "fp16")
