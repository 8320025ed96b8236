"""The export stage: a file that agrees with the student, or a refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import nn

from models import registry
from models.classifier import Classifier
from pipeline.cache.keys import file_sha256
from pipeline.errors import StageError
from pipeline.gates.real_images import RealImages
from pipeline.settings import Export
from stages.engines.base import BACKENDS
from stages.engines.ort import OrtSession
from stages.export import stage as export_stage
from stages.export.compare import Comparison
from stages.onnxgraph import io as onnx_io
from tests.stages.tiny import TinyRun, card, resnet8


def _images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((count, 1, 8, 8), dtype=np.float32)


def _export(network: Classifier, path: Path, options: Export) -> Comparison:
    return export_stage.export(
        network,
        card(),
        path,
        options=options,
        opset=18,
        images_NCHW=_images(),
        student_sha256="0" * 64,
    )


def test_the_stage_leaves_a_sound_file_with_the_students_card(tiny: TinyRun) -> None:
    model = onnx_io.read(tiny.path("export/onnx"), "here")
    described = card(arch=tiny.settings.student.arch, real_images=RealImages())
    assert onnx_io.card_of(model) == described


def test_the_difference_to_torch_is_recorded_and_small(tiny: TinyRun) -> None:
    assert 0 <= tiny.metrics("export")["max_logit_difference"] < 1e-3


def test_the_file_is_at_most_the_students_size_and_the_graph(tiny: TinyRun) -> None:
    student = tiny.path("distill/student").stat().st_size
    size = tiny.path("export/onnx").stat().st_size
    assert size <= 1.05 * student
    assert tiny.metrics("export")["bytes"] == size


def test_a_difference_above_the_tolerance_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Classifier(resnet8(), card().mean, card().std).eval()
    real = OrtSession.infer
    monkeypatch.setattr(OrtSession, "infer", lambda session, x: 1.1 * real(session, x))
    with pytest.raises(StageError, match=r"differs from torch by .*max_relative_difference"):
        _export(network, tmp_path / "m.onnx", Export())
    assert not list(tmp_path.iterdir())


def test_a_student_whose_outputs_are_not_finite_is_refused(tmp_path: Path) -> None:
    backbone = resnet8()
    torch.nn.init.constant_(backbone.fc.weight, float("nan"))
    network = Classifier(backbone, card().mean, card().std).eval()
    with pytest.raises(StageError, match="not finite"):
        _export(network, tmp_path / "m.onnx", Export())


@pytest.mark.parametrize("arch", ["resnet18", "wrn16-1", "vgg11", "mobilenetv2"])
def test_each_family_of_networks_becomes_a_file_that_agrees(arch: str, tmp_path: Path) -> None:
    described = card(arch=arch, image_size_px=32)
    torch.manual_seed(0)
    backbone = registry.create(arch, in_channels=1, num_classes=10, code=None)
    network = Classifier(backbone, described.mean, described.std).eval()
    images_NCHW = np.random.default_rng(0).random((2, 1, 32, 32), dtype=np.float32)
    out = tmp_path / "m.onnx"
    comparison = export_stage.export(
        network,
        described,
        out,
        options=Export(),
        opset=18,
        images_NCHW=images_NCHW,
        student_sha256="0" * 64,
    )
    assert comparison.max_logit_difference < 1e-3
    assert onnx_io.card_of(onnx_io.read(out, "here")) == described


def test_too_few_images_of_torchs_class_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Classifier(resnet8(), card().mean, card().std).eval()
    real = OrtSession.infer
    options = Export(max_relative_difference=1e9)
    monkeypatch.setattr(OrtSession, "infer", lambda session, x: -real(session, x))
    with pytest.raises(StageError, match=r"torch's class to too few images .*min_agreement"):
        _export(network, tmp_path / "m.onnx", options)


def test_a_graph_that_takes_bytes_agrees_and_names_its_input(tmp_path: Path) -> None:
    network = Classifier(resnet8(), card().mean, card().std).eval()
    comparison = _export(network, tmp_path / "m.onnx", Export(input="uint8-nhwc"))
    assert comparison.max_logit_difference < 1e-3
    model = onnx_io.read(tmp_path / "m.onnx", "here")
    tensor = model.graph.input[0].type.tensor_type
    assert tensor.elem_type == TensorProto.UINT8
    assert [dim.dim_value for dim in tensor.shape.dim[1:]] == [8, 8, 1]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties[onnx_io.INPUT_KEY]) == {
        "layout": "NHWC", "type": "uint8", "range": [0, 255],
    }  # fmt: skip
    assert properties[onnx_io.STUDENT_KEY] == "0" * 64


def test_the_student_in_the_file_is_the_one_that_was_exported(tiny: TinyRun) -> None:
    model = onnx_io.read(tiny.path("export/onnx"), "here")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties[onnx_io.STUDENT_KEY] == file_sha256(tiny.path("distill/student"))


def test_the_opset_is_the_backends_where_none_is_named(tiny: TinyRun) -> None:
    model = onnx_io.read(tiny.path("export/onnx"), "here")
    assert model.opset_import[0].version == BACKENDS["onnxruntime"].opset


class _Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 8)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            h_BCHW = self.conv(x_BCHW)
        logits_BK: torch.Tensor = h_BCHW.float().flatten(1)
        return logits_BK


def test_autocast_in_a_forward_is_named(tmp_path: Path) -> None:
    network = Classifier(_Autocast(), (0.5,), (0.5,)).eval()
    with pytest.raises(StageError, match=r"computes in bfloat16, .*autocast in its forward"):
        _export(network, tmp_path / "s.onnx", Export())
    assert not list(tmp_path.iterdir())
