"""The export stage: a file that says what the student says, or a refusal."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import registry
from models.classifier import Classifier
from pipeline.errors import StageError
from stages import export, onnxfile
from tests.stages.tiny import Brought, card, resnet8


def _images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((count, 1, 8, 8), dtype=np.float32)


def test_the_stage_leaves_a_sound_file_with_the_students_card(tiny: Brought) -> None:
    model = onnxfile.read(tiny.path("export/onnx"), "here")
    assert onnxfile.card_of(model) == card(arch=tiny.settings.student.arch)


def test_the_difference_to_torch_is_recorded_and_small(tiny: Brought) -> None:
    assert 0 <= tiny.metrics("export")["max_logit_difference"] < 1e-3


def test_the_file_is_at_most_the_students_size_and_the_graph(tiny: Brought) -> None:
    student = tiny.path("distill/student").stat().st_size
    size = tiny.path("export/onnx").stat().st_size
    assert size <= 1.05 * student
    assert tiny.metrics("export")["bytes"] == size


def test_a_difference_above_the_tolerance_is_refused_with_both(tmp_path: Path) -> None:
    network = Classifier(resnet8(), card().mean, card().std).eval()
    with pytest.raises(StageError, match=r"differs from torch by .*max_logit_difference"):
        export.export(
            network, card(), tmp_path / "m.onnx", opset=18, images_NCHW=_images(), tolerance=1e-30
        )


def test_a_student_whose_outputs_are_not_finite_is_refused(tmp_path: Path) -> None:
    backbone = resnet8()
    torch.nn.init.constant_(backbone.fc.weight, float("nan"))
    network = Classifier(backbone, card().mean, card().std).eval()
    with pytest.raises(StageError, match="not finite"):
        export.export(
            network, card(), tmp_path / "m.onnx", opset=18, images_NCHW=_images(), tolerance=1e-3
        )


@pytest.mark.parametrize("arch", ["resnet18", "wrn16-1", "vgg11", "mobilenetv2"])
def test_each_kind_of_network_for_small_images_becomes_a_file_that_says_the_same(
    arch: str, tmp_path: Path
) -> None:
    described = card(arch=arch, image_size_px=32)
    torch.manual_seed(0)
    backbone = registry.create(arch, in_channels=1, num_classes=10, code=None)
    network = Classifier(backbone, described.mean, described.std).eval()
    images_NCHW = np.random.default_rng(0).random((2, 1, 32, 32), dtype=np.float32)
    out = tmp_path / "m.onnx"
    difference = export.export(
        network, described, out, opset=18, images_NCHW=images_NCHW, tolerance=1e-3
    )
    assert difference < 1e-3
    assert onnxfile.card_of(onnxfile.read(out, "here")) == described
