"""What nothing can be distilled with is found on a few images: no gradient, or probabilities."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.classifier import Classifier
from pipeline.errors import StageError
from stages.networks import probe
from tests.stages.tiny import card, resnet8


class _Changed(nn.Module):
    """A backbone around which something was put."""

    def __init__(self, change: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = resnet8()
        self.change = change

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.change(self.inner, x_BCHW)


def _check(change: Callable[[nn.Module, Tensor], Tensor], *, learns: bool = False) -> list[str]:
    described = card(arch="net.py:make")
    network = Classifier(_Changed(change), described.mean, described.std)
    return probe.check(network, described, "teacher.arch", learns=learns)


@torch.no_grad()
def _without_gradient(net: nn.Module, x_BCHW: Tensor) -> Tensor:
    logits_BK: Tensor = net(x_BCHW)
    return logits_BK


@torch.inference_mode()
def _in_inference_mode(net: nn.Module, x_BCHW: Tensor) -> Tensor:
    logits_BK: Tensor = net(x_BCHW)
    return logits_BK


@pytest.mark.parametrize(
    "change",
    [
        _without_gradient,
        _in_inference_mode,
        lambda net, x: net(x.detach()),
        lambda net, x: net(x.round()),
    ],
)
def test_a_network_that_no_gradient_passes_is_refused(
    change: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    with pytest.raises(StageError, match=r"teacher\.arch: net\.py:make gives no gradient.*no_grad"):
        _check(change)


def test_probabilities_are_no_logits() -> None:
    with pytest.raises(StageError, match=r"gives probabilities, not logits \(.* softmax in its"):
        _check(lambda net, x: net(x).softmax(1))


def test_log_probabilities_do_for_logits_where_they_need_not_be_learned() -> None:
    notes = _check(lambda net, x: net(x).log_softmax(1))
    assert notes == ["net.py:make gives log-probabilities, taken as logits"]
    with pytest.raises(StageError, match="return what goes into the log_softmax"):
        _check(lambda net, x: net(x).log_softmax(1), learns=True)


def test_a_sigmoid_is_noted() -> None:
    (note,) = _check(lambda net, x: net(x).sigmoid())
    assert "sigmoid" in note


def test_outputs_that_another_thing_than_the_image_decides_are_noted() -> None:
    (note,) = _check(lambda net, x: net(functional.dropout(x)))
    assert "dropout" in note
    (note,) = _check(lambda net, x: net(x) - net(x).mean(dim=0))
    assert "in another batch" in note
    (note,) = _check(lambda net, x: net(x).squeeze())
    assert "takes no single image (it returns the shape (10,) for one)" in note


def test_a_network_that_breaks_its_own_gradient_is_refused() -> None:
    def spoilt(net: nn.Module, x_BCHW: Tensor) -> Tensor:
        h_BK: Tensor = net(x_BCHW)
        y_BK = h_BK.exp()
        y_BK.mul_(2.0)
        return y_BK

    for change in (spoilt, lambda net, x: net(torch.from_numpy(x.numpy()))):
        with pytest.raises(StageError, match="cannot be differentiated"):
            _check(change)


def test_a_sound_network_is_left_as_it_was_and_so_are_random_numbers() -> None:
    described = card()
    network = Classifier(resnet8(), described.mean, described.std).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert probe.check(network, described, "teacher.arch", learns=True) == []
    assert torch.equal(torch.rand(1), expected)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
