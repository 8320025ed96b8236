"""What would fill memory or never end is refused by its shapes, before anything computes it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pipeline.errors import StageError
from pipeline.settings import Build
from stages.onnxgraph import intake, limits
from tests.stages.onnxgraph.graphs import classifier, layers, saved, weights

_SIZE = 2**20


def _model(*nodes: NodeProto, **stored: Any) -> ModelProto:
    """Return a classifier whose images go through `nodes` into `big` first."""
    arrays: dict[str, NDArray[Any]] = {name: np.asarray(value) for name, value in stored.items()}
    return classifier([*nodes, *layers("big")], stored=weights() | arrays)


def _read(model: ModelProto, folder: Path) -> None:
    intake.read(saved(model, folder / "m.onnx"), Build())


def _sum(name: str) -> list[NodeProto]:
    return [
        helper.make_node("ReduceSum", [name], ["sum"], keepdims=0),
        helper.make_node("Add", ["images", "sum"], ["big"]),
    ]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(
            _model(helper.make_node("Tile", ["images", "s"], ["big"]), s=[1, 1, _SIZE, _SIZE]),
            id="Tile",
        ),
        pytest.param(
            _model(
                helper.make_node("Pad", ["images", "s"], ["big"]), s=[0, 0, _SIZE, 0, 0, 0, 0, 0]
            ),
            id="Pad",
        ),
        pytest.param(
            _model(helper.make_node("ConstantOfShape", ["s"], ["k"]), *_sum("k"), s=[_SIZE, _SIZE]),
            id="ConstantOfShape",
        ),
        pytest.param(
            _model(
                helper.make_node("Resize", ["images", "", "s"], ["big"]),
                s=np.array([1, 1, _SIZE, 1], np.float32),
            ),
            id="Resize",
        ),
        pytest.param(classifier(images=("N", 3, 8, 2**31 - 1)), id="images"),
    ],
)
def test_a_value_that_fits_no_memory_is_refused(model: ModelProto, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^the ONNX file: makes a value of [\d.e+]+ GiB"):
        _read(model, tmp_path)


def test_a_small_file_may_hold_constants_as_large_as_itself(tmp_path: Path) -> None:
    model = classifier()
    array = np.zeros((2**10, 5 * 2**12), np.float32)  # 80 MiB, for images of 768 bytes
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(array))
    first = [helper.make_node("ReduceSum", ["k"], ["sum"], keepdims=0)]
    model = _model(constant, *first, helper.make_node("Add", ["images", "sum"], ["big"]))
    _read(model, tmp_path)


def _loop(count: str) -> NodeProto:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("go", "x")],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("x", TensorProto.FLOAT, None),
        ],
        [value("go_out", TensorProto.BOOL, []), value("x_out", TensorProto.FLOAT, None)],
    )
    return helper.make_node("Loop", [count, "true", "images"], ["big"], "loop", body=body)


@pytest.mark.parametrize("count", ["", "many"])
def test_a_loop_without_an_end_is_refused(count: str, tmp_path: Path) -> None:
    model = _model(_loop(count), true=True, many=np.int64(2**62))
    with pytest.raises(StageError, match=r"^the ONNX file: loops without an end .*\(loop: "):
        _read(model, tmp_path)


def test_a_loop_of_a_few_rounds_passes(tmp_path: Path) -> None:
    _read(_model(_loop("few"), true=True, few=np.int64(3)), tmp_path)


@pytest.mark.parametrize(
    ("calls", "wrong"),
    [
        ({"F": ["F"]}, "calls itself"),
        ({"F": ["G"], "G": ["F"]}, "calls itself"),
        ({f"{'F' * (n + 1)}": ["F" * (n + 2)] * 4 for n in range(12)}, "becomes too large"),
    ],
)
def test_functions_that_do_not_end_are_refused(
    calls: dict[str, list[str]], wrong: str, tmp_path: Path
) -> None:
    model = _model(helper.make_node("F", ["images"], ["big"], domain="own"))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    for name, called in calls.items():
        nodes = [
            helper.make_node(f if f in calls else "Identity", ["x"], ["y"],
                             domain="own" if f in calls else "")
            for f in called
        ]  # fmt: skip
        model.functions.append(helper.make_function("own", name, ["x"], ["y"], nodes, opsets))
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(StageError, match=re.escape(wrong)):
        intake.read(tmp_path / "m.onnx", Build())


def test_a_part_of_a_tensor_is_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.initializer[0].segment.end = 5
    with pytest.raises(StageError, match=r"^the ONNX file: holds a part of a tensor"):
        _read(model, tmp_path)


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_size_below_0_is_refused(place: str, tmp_path: Path) -> None:
    model = classifier()
    value = getattr(model.graph, place)[0]
    value.type.tensor_type.shape.dim[1].dim_value = -2
    with pytest.raises(StageError, match=f"below 0 .{value.name}: .* x -2|is no sound ONNX file"):
        _read(model, tmp_path)


def test_a_tensor_with_more_values_than_its_shape_says_is_refused(tmp_path: Path) -> None:
    model = classifier()
    weights = model.graph.initializer[0]
    weights.raw_data += b"\0" * 4
    with pytest.raises(StageError, match=f"do not fit its shape .{weights.name}: "):
        _read(model, tmp_path)


def test_a_file_with_more_values_than_a_tensor_in_it_has_is_refused(tmp_path: Path) -> None:
    model = classifier()
    weights = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(weights.raw_data + b"\0" * 4)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    with pytest.raises(StageError, match=f"do not fit its shape .{weights.name}: "):
        _read(model, tmp_path)


def test_an_engine_from_anywhere_is_looked_at_too(tmp_path: Path) -> None:
    tile = helper.make_node("Tile", ["images", "s"], ["big"])
    path = saved(_model(tile, s=[1, 1, _SIZE, _SIZE]), tmp_path / "engine.onnx")
    with pytest.raises(StageError, match="makes a value of"):
        limits.check_engine(path, "--engine")
