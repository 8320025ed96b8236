"""The folded teacher says what the teacher says, or is not used."""

import torch
from torch import Tensor, nn

from models.classifier import Classifier
from stages.distill.frozen_teacher import frozen
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
    folded = frozen(teacher, x_BCHW, torch.float32)
    assert folded is not None
    assert not [each for each in folded.modules() if isinstance(each, nn.BatchNorm2d)]
    with torch.no_grad():
        torch.testing.assert_close(folded(x_BCHW), teacher(x_BCHW), rtol=1e-4, atol=1e-4)


def test_the_teacher_itself_keeps_its_layers_and_weights() -> None:
    teacher = _teacher()
    before = {name: each.clone() for name, each in teacher.state_dict().items()}
    frozen(teacher, torch.rand(4, 1, 8, 8), torch.bfloat16)
    assert all(torch.equal(before[name], each) for name, each in teacher.state_dict().items())


def test_in_bf16_its_weights_are_so_and_its_logits_are_fp32_and_near() -> None:
    teacher, x_BCHW = _teacher(), torch.rand(16, 1, 8, 8)
    folded = frozen(teacher, x_BCHW, torch.bfloat16)
    assert folded is not None
    assert {each.dtype for each in folded.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        wanted_BK, found_BK = teacher(x_BCHW), folded(x_BCHW)
    assert found_BK.dtype == torch.float32
    assert (found_BK - wanted_BK).abs().max() < 0.05 * wanted_BK.abs().max()


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
    assert frozen(teacher, torch.rand(4, 1, 8, 8), torch.float32) is None
