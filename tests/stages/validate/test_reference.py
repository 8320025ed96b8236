"""The teacher as an engine says what the teacher says; what cannot be built is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from pipeline.gates.build_records import EngineManifest
from stages.engines import ort
from stages.networks import factory
from stages.validate import reference
from tests.stages.tiny import TinyRun, card

LIKE = EngineManifest(
    backend="onnxruntime",
    backend_version="1",
    device="cpu",
    precision="int8",
    engine="engine.onnx",
    sha256="",
    onnx_sha256="",
)


def test_the_teachers_engine_says_what_the_teacher_says(tiny: TinyRun, tmp_path: Path) -> None:
    teacher, about = factory.load(tiny.path("teacher/weights"), code=None, place="here")
    path = reference.build(teacher, about, LIKE, tmp_path, opset=20)
    x_BCHW = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        wanted_BK = teacher(x_BCHW).numpy()
    found_BK = ort.open(path, device="cpu", threads=1).infer(x_BCHW.numpy())
    assert np.abs(found_BK - wanted_BK).max() < 1e-3


class _Unexportable(nn.Module):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        if float(x_BCHW.sum()) > 0:
            return x_BCHW
        return -x_BCHW


def test_a_teacher_that_cannot_be_exported_is_told_with_the_reason(tmp_path: Path) -> None:
    network = Classifier(_Unexportable(), (0.5,), (0.5,))
    with pytest.raises(reference.CannotBuild, match="the teacher makes no engine of onnxruntime"):
        reference.build(network, card(), LIKE, tmp_path, opset=20)
