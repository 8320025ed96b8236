"""What ONNX Runtime reads of other programs, and the standard does not allow, is put straight."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from pipeline.errors import StageError
from pipeline.settings import Build
from stages.engines.ort import OrtSession
from stages.onnxgraph import calibrate, intake, qdq
from stages.onnxgraph.intake import Intake
from stages.onnxgraph.layers import with_names
from tests.stages.onnxgraph.graphs import classifier, layers, random_images, saved

X_NCHW = random_images()


def _read(model: ModelProto, folder: Path, options: Build | None = None) -> Intake:
    return intake.read(saved(model, folder / "m.onnx"), options or Build())


def _of_one_name() -> list[NodeProto]:
    nodes = layers()
    for node in nodes:
        node.name = "same"
    return nodes


@pytest.mark.parametrize("nodes", [layers()[::-1], _of_one_name()])
def test_the_order_and_names_of_nodes_do_not_matter(
    nodes: Sequence[NodeProto], tmp_path: Path
) -> None:
    read = _read(classifier(nodes), tmp_path)
    assert not read.changes
    wanted_NK = OrtSession(classifier().SerializeToString()).infer(X_NCHW)
    assert np.array_equal(OrtSession(read.model.SerializeToString()).infer(X_NCHW), wanted_NK)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    nodes = layers()
    nodes[0].input[0] = "f"
    with pytest.raises(StageError, match="is no sound ONNX file"):
        _read(classifier(nodes), tmp_path)


def test_an_input_that_nothing_takes_is_left_out(tmp_path: Path) -> None:
    model = classifier()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1,)))
    read = _read(model, tmp_path)
    assert [value.name for value in read.model.graph.input] == ["images"]
    assert read.changes == ("its input mask, which nothing takes, was left out",)


def test_a_mapping_from_classes_is_taken_as_its_tensor(tmp_path: Path) -> None:
    domain = "ai.onnx.ml"
    zip_map = helper.make_node("ZipMap", ["f5"], ["logits"], domain=domain, classlabels_int64s=[0])
    model = classifier([*layers(last="f5"), zip_map])
    model.opset_import.append(helper.make_opsetid(domain, 3))
    kinds = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kinds))
    read = _read(model, tmp_path)
    assert "a mapping" in read.changes[0]
    wanted_NK = OrtSession(classifier().SerializeToString()).infer(X_NCHW)
    assert np.array_equal(OrtSession(read.model.SerializeToString()).infer(X_NCHW), wanted_NK)


def test_channels_that_are_left_open_are_those_of_the_first_convolution(tmp_path: Path) -> None:
    read = _read(classifier(images=("N", "C", "H", "W")), tmp_path, Build(image_size_px=8))
    dims = read.model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims[1:]] == [3, 8, 8]


def test_operators_of_a_program_that_cannot_be_int8_are_named(tmp_path: Path) -> None:
    nodes = layers()
    nodes[1] = helper.make_node("Gelu", ["c"], ["r"], domain="com.microsoft")
    nodes[2] = helper.make_node("Conv", ["r", "w3", "b1"], ["p"], name="second")
    model = classifier(nodes)
    model.graph.initializer.append(
        helper.make_tensor("w3", TensorProto.FLOAT, (4, 4, 3, 3), np.ones(144, np.float32))
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    named = with_names(_read(model, tmp_path).model)
    scheme = qdq.SCHEMES["u8s8"]
    ranges = calibrate.activation_ranges(named, X_NCHW, "minmax", scheme.ops)
    with pytest.raises(StageError, match=r"cannot be made of this graph \(com\.microsoft\.Gelu\)"):
        qdq.quantize(named, scheme, ranges, keep=())
