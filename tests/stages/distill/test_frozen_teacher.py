"""The folded teacher has the logits of the teacher, or is not used."""

from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from stages.distill.frozen_teacher import fold_batch_norm
from tests.stages.distill.tiny_training import copied_state
from tests.stages.tiny import resnet8


def _teacher() -> Classifier:
    backbone = resnet8(seed=1)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return Classifier(backbone, (0.3,), (0.4,)).eval()


def test_it_has_no_batch_norm_left_and_the_same_logits() -> None:
    teacher, x_BCHW = _teacher(), torch.rand(16, 1, 8, 8)
    folded = fold_batch_norm(teacher, x_BCHW, torch.float32)
    assert folded is not None
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(folded(x_BCHW), teacher(x_BCHW), rtol=1e-4, atol=1e-4)


class OnGpu(Classifier):
    """A classifier that computes as inexactly as TF32 does, until it is brought to the CPU."""

    is_exact = False

    def cpu(self) -> Self:
        self.is_exact = True
        return super().cpu()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        logits_BK = super().forward(x_BCHW)
        return logits_BK if self.is_exact else logits_BK * (1 + 2**-8)


def test_the_rounding_of_a_gpu_does_not_refuse_a_sound_teacher() -> None:
    teacher = OnGpu(_teacher().backbone, (0.3,), (0.4,)).eval()
    assert fold_batch_norm(teacher, torch.rand(16, 1, 8, 8), torch.float32) is not None
    assert not teacher.is_exact


def test_the_teacher_itself_keeps_its_layers_and_weights() -> None:
    teacher = _teacher()
    before = copied_state(teacher)
    fold_batch_norm(teacher, torch.rand(4, 1, 8, 8), torch.bfloat16)
    assert all(torch.equal(before[name], x) for name, x in teacher.state_dict().items())


def test_in_bf16_its_weights_are_so_and_its_logits_are_fp32_and_near() -> None:
    teacher, x_BCHW = _teacher(), torch.rand(16, 1, 8, 8)
    folded = fold_batch_norm(teacher, x_BCHW, torch.bfloat16)
    assert folded is not None
    assert {parameter.dtype for parameter in folded.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        teacher_BK, folded_BK = teacher(x_BCHW), folded(x_BCHW)
    assert folded_BK.dtype == torch.float32
    assert (folded_BK - teacher_BK).abs().max() < 0.05 * teacher_BK.abs().max()


class Branching(nn.Module):
    """A network that depends on values, which no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h = x_BCHW.flatten(1)
        if h.sum() > 0:
            h = -h
        logits: Tensor = self.fc(h)
        return logits


def test_a_network_that_cannot_be_traced_is_left_as_it_is() -> None:
    teacher = Classifier(Branching(), (0.3,), (0.4,)).eval()
    assert fold_batch_norm(teacher, torch.rand(4, 1, 8, 8), torch.float32) is None


def test_a_network_whose_folded_logits_differ_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(backbone: nn.Module, *, inplace: bool) -> nn.Module:  # noqa: ARG001
        torch.nn.init.zeros_(backbone.get_parameter("fc.weight"))
        return backbone

    monkeypatch.setattr("stages.distill.frozen_teacher.fuse", wrong)
    assert fold_batch_norm(_teacher(), torch.rand(4, 1, 8, 8), torch.float32) is None


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_layers_whose_weights_are_computed_are_left_as_they_are(norm: Any) -> None:
    teacher = _teacher()
    teacher.backbone.conv1 = norm(teacher.backbone.conv1)
    x_BCHW = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        teacher(x_BCHW)  # after which the weight is one without a gradient
    assert fold_batch_norm(teacher, x_BCHW, torch.float32) is None


def test_a_head_that_is_a_convolution_is_folded_too() -> None:
    norm = nn.BatchNorm2d(4)
    backbone = nn.Sequential(
        nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1)
    )
    nn.init.uniform_(norm.running_mean)  # type: ignore[arg-type]
    teacher, x_BCHW = Classifier(backbone, (0.3,), (0.4,)).eval(), torch.rand(5, 1, 8, 8)
    folded = fold_batch_norm(teacher, x_BCHW, torch.float32)
    assert folded is not None
    torch.testing.assert_close(folded(x_BCHW), teacher(x_BCHW))
