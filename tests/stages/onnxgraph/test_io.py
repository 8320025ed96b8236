"""ONNX files: what is written, and what is refused before anyone loads it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper

from models.classifier import Classifier
from pipeline.errors import StageError
from stages.engines.ort import OrtSession
from stages.onnxgraph import io as onnx_io
from stages.onnxgraph import torch_export
from tests.stages.tiny import card, resnet8


def _classifier() -> Classifier:
    return Classifier(resnet8(), card().mean, card().std)


@pytest.fixture(scope="module")
def model() -> ModelProto:
    return torch_export.from_torch(_classifier(), card(), opset=18)


def _graph(inputs: int = 1) -> ModelProto:
    names = [f"x{number}" for number in range(inputs)]
    node = helper.make_node("Sum", names, ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in (*names, "y")]
    graph = helper.make_graph([node], "g", ends[:-1], ends[-1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("opset", [18, 20])
def test_the_model_has_the_operator_set_of_its_argument(opset: int) -> None:
    model = torch_export.from_torch(_classifier(), card(), opset=opset)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == opset


def test_it_has_one_input_and_one_output_with_a_dynamic_batch(model: ModelProto) -> None:
    for ends, name, rest in (
        (model.graph.input, "images", [1, 8, 8]),
        (model.graph.output, "logits", [10]),
    ):
        (end,) = ends
        first, *others = end.type.tensor_type.shape.dim
        assert end.name == name
        assert first.dim_param
        assert [dim.dim_value for dim in others] == rest


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_it_agrees_with_torch_at_every_batch_size(model: ModelProto, batch: int) -> None:
    opened = OrtSession(model.SerializeToString())
    x_BCHW = np.random.default_rng(batch).random((batch, 1, 8, 8), dtype=np.float32)
    with torch.no_grad():
        torch_BK = _classifier().eval()(torch.from_numpy(x_BCHW)).numpy()
    np.testing.assert_allclose(opened.infer(x_BCHW), torch_BK, atol=1e-4)


def test_two_exports_in_different_folders_give_the_same_bytes(
    model: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx_io.save(model, tmp_path / "one.onnx")
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    again = torch_export.from_torch(_classifier(), card(), opset=18)
    onnx_io.save(again, tmp_path / "deeper" / "other.onnx")
    other = (tmp_path / "deeper" / "other.onnx").read_bytes()
    assert (tmp_path / "one.onnx").read_bytes() == other


def test_nothing_in_it_comes_from_the_machine_that_exported(model: ModelProto) -> None:
    protos = [*model.graph.node, *model.graph.value_info, *model.graph.initializer]
    assert not [proto.name for proto in protos if proto.metadata_props or proto.doc_string]
    content = model.SerializeToString()
    here = str(Path(__file__).parents[2])
    for trace in (here.encode(), b".py", b"site-packages", b"Traceback", b"nn.Module", b'File "'):
        assert trace not in content


def test_its_card_is_in_the_metadata(model: ModelProto) -> None:
    assert [entry.key for entry in model.metadata_props] == [
        "madpipe.card",
        "madpipe.input",
    ]
    assert onnx_io.card_of(model) == card()


def test_a_model_of_others_has_no_card() -> None:
    assert onnx_io.card_of(_graph()) is None


def test_batch_norm_is_folded_and_the_weights_are_there_once(model: ModelProto) -> None:
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    values = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    trained = sum(parameter.numel() for parameter in resnet8().parameters())
    assert values < 1.05 * trained


def test_a_sound_file_is_read_back(model: ModelProto, tmp_path: Path) -> None:
    onnx_io.save(model, tmp_path / "m.onnx")
    assert onnx_io.read(tmp_path / "m.onnx", "here") == model


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^here: no such file \(.*none\.onnx\)"):
        onnx_io.read(tmp_path / "none.onnx", "here")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(model: ModelProto, tmp_path: Path, share: float) -> None:
    content = model.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StageError, match=r"^here: is no (sound )?ONNX file"):
        onnx_io.read(tmp_path / "m.onnx", "here")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("hello, this is no model", encoding="utf-8")
    with pytest.raises(StageError, match="ONNX file"):
        onnx_io.read(tmp_path / "m.onnx", "here")


def test_a_model_with_two_inputs_is_refused_with_the_counts(tmp_path: Path) -> None:
    onnx.save(_graph(inputs=2), str(tmp_path / "m.onnx"))
    with pytest.raises(StageError, match=r"needs one input and one output .* has 2 and 1"):
        onnx_io.read(tmp_path / "m.onnx", "here")


@pytest.mark.parametrize("place", ["m.bin", "../outside.bin", "/etc/hostname"])
def test_weights_kept_outside_the_file_are_refused(tmp_path: Path, place: str) -> None:
    model = _graph()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    model.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StageError, match=r"keeps weights outside itself .*w\)"):
        onnx_io.read(tmp_path / "m.onnx", "here")


def test_weights_kept_outside_by_a_constant_are_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _graph()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.bin")
    (tmp_path / "m.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    add = helper.make_node("Add", ["x0", "c"], ["y"])
    del model.graph.node[:]
    model.graph.node.extend([constant, add])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for folder in (tmp_path.parent, tmp_path):
        monkeypatch.chdir(folder)
        with pytest.raises(StageError, match=r"outside itself|no sound ONNX file"):
            onnx_io.read(tmp_path / "m.onnx", "here")


def test_an_unsound_graph_is_refused(tmp_path: Path) -> None:
    model = _graph()
    model.graph.node[0].input[0] = "nothing"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StageError, match="is no sound ONNX file"):
        onnx_io.read(tmp_path / "m.onnx", "here")


def test_weights_in_the_place_of_a_graph_are_named(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "m.onnx")
    with pytest.raises(StageError, match=r"is a file of weights.*madpipe export --student"):
        onnx_io.parse(tmp_path / "m.onnx", "here")


def test_a_name_that_is_no_text_is_refused_where_the_file_is_read(tmp_path: Path) -> None:
    model = _graph()
    model.graph.name = "MARK"
    content = model.SerializeToString().replace(b"MARK", b"\xff\xfe\xff\xfe")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(StageError, match=r"^here: is no ONNX file, or only a part of one"):
        onnx_io.parse(tmp_path / "m.onnx", "here")
