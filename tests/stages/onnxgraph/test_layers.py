"""The layers of a graph and their names."""

import pytest
from onnx import ModelProto

from pipeline.errors import StageError
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import layers
from tests.stages.tiny import TinyRun


@pytest.fixture(scope="module")
def model(tiny: TinyRun) -> ModelProto:
    return onnx_io.read(tiny.path("export/onnx"), "here")


def test_layers_are_the_nodes_with_weights(model: ModelProto) -> None:
    assert [node.op_type for node in layers.layer_nodes(model)] == ["Conv"] * 9 + ["Gemm"]


def test_first_last_a_node_and_its_weight_name_layers(model: ModelProto) -> None:
    nodes = layers.layer_nodes(model)
    assert layers.resolve_layers(model, ["first", "last"], "p") == {nodes[0].name, nodes[-1].name}
    assert layers.resolve_layers(model, ["backbone.fc"], "p") == {nodes[-1].name}
    assert layers.resolve_layers(model, [nodes[2].name], "p") == {nodes[2].name}


def test_a_name_that_is_no_layers_is_refused_with_the_nearest(model: ModelProto) -> None:
    with pytest.raises(StageError, match=r"^p: names no layer.*backbone\.fc.*\(backbone\.fd\)"):
        layers.resolve_layers(model, ["backbone.fd"], "p")


def test_the_preprocessing_is_what_comes_before_the_first_layer(model: ModelProto) -> None:
    ahead = layers.nodes_before_layers(model)
    assert {n.op_type for n in model.graph.node if n.name in ahead} == {"Sub", "Div"}


def test_nodes_without_names_get_different_ones(model: ModelProto) -> None:
    bare = ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        node.name = ""
    names = [node.name for node in layers.with_names(bare).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert not any(node.name for node in bare.graph.node)
